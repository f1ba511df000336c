//! Examples at the end of the help texts.

pub const ALL: &str = "\
Start here:
  valerix demo               run the platform; prints the dashboard's address
  valerix gremlin tour       break it step by step, and see what it does

On a running platform:
  valerix load --rate 50     place 50 orders per second for 10 s
  valerix gremlin on         delay each response of inventory by 3 s
  valerix gremlin off        end the delay
  valerix orders list        see how the orders ended
  valerix stock list         see what is in stock

On a platform of its own:
  valerix prove              a chaos campaign: does any order get lost?
  valerix soak --minutes 60  does anything grow under load and faults?

'valerix COMMAND --help' describes a command, with examples.";

pub const ORDER: &str = "\
Examples:
  valerix order --database-url postgres://valerix@127.0.0.1/valerix
  DATABASE_URL_FILE=/run/secrets/database-url valerix order --host 0.0.0.0";

pub const INVENTORY: &str = "\
Examples:
  valerix inventory --database-url postgres://valerix@127.0.0.1/valerix
  DATABASE_URL_FILE=/run/secrets/database-url valerix inventory --host 0.0.0.0";

pub const PAYMENT: &str = "\
Examples:
  valerix payment --database-url postgres://valerix@127.0.0.1/valerix
  DATABASE_URL_FILE=/run/secrets/database-url valerix payment --host 0.0.0.0";

pub const DEMO: &str = "\
Examples:
  valerix demo                      on a private database in .valerix
  valerix demo --reset              delete the private database's data first
  PAYMENT_SUCCESS_RATE=1 valerix demo
                                    decline no payment";

pub const MIGRATE: &str = "\
Example:
  valerix migrate --database-url postgres://valerix@127.0.0.1/valerix";

pub const GREMLIN: &str = "\
Examples:
  valerix gremlin tour --pause      show each kind of fault, step by step
  valerix gremlin on --delay-ms 3000
  valerix gremlin add vanish --service payment --every 2
                                    every second charge gets no answer
  valerix gremlin status
  valerix gremlin rm --all --service payment";

pub const GREMLIN_ADD: &str = "\
Examples:
  valerix gremlin add error --status 503 --service payment --probability 0.5
  valerix gremlin add latency --delay-ms 800 --jitter-ms 400 --ttl-seconds 60
  valerix gremlin add vanish --route /inventory/reserve --max-fires 3
  valerix gremlin add hang --service order --direction outbound
                                    calls of the order service never return";

pub const AUDIT: &str = "\
Example:
  valerix audit --database-url postgres://valerix@127.0.0.1/valerix";

pub const PROVE: &str = "\
Examples:
  valerix prove                     a campaign with a random seed
  valerix prove --seed 11 --orders 500 --kills 20
  valerix prove --json > report.json";

pub const SOAK: &str = "\
Examples:
  valerix soak --minutes 600 --rate 50
  valerix soak --minutes 10 --json > report.json";

pub const LOAD: &str = "\
Examples:
  valerix load --rate 100 --seconds 30
  valerix load --rate 100,200,400   one rate after the other
  valerix load --max-p99-ms 200 --max-errors 0.5%
                                    for CI: exit 1 if a limit is exceeded

Exit codes: 0 done, and all thresholds kept; 1 a threshold was exceeded; 2 no
order got an answer, or wrong arguments.";

pub const STOCK: &str = "\
Examples:
  valerix stock list
  valerix stock add PROD-001 100    deliver 100 units
  valerix stock create PROD-009 --stock 50";

pub const STOCK_ADD: &str = "\
Examples:
  valerix stock add PROD-001 100
  valerix stock add PROD-001 -5     correct the stock: 5 units are missing
  valerix stock add PROD-001 100 --delivery-id D-2026-17
                                    can be repeated: it is delivered once";

pub const ORDERS: &str = "\
Examples:
  valerix orders list --settled false
                                    orders that have not ended, or owe something
  valerix orders show ID            the timeline of an order
  valerix orders cancel ID          give its stock and its money back";

pub const ORDERS_LIST: &str = "\
Examples:
  valerix orders list --status pending_inventory
  valerix orders list --created-after 2026-01-31T12:00:00Z --limit 100
  valerix orders list --settled false --json";

pub const RETENTION: &str = "\
Examples:
  valerix retention run --dry-run --older-than-days 30
                                    count what would be deleted
  valerix retention run             delete orders older than RETENTION_DAYS of
                                    the order service";

pub const HEALTHCHECK: &str = "\
Examples:
  valerix healthcheck --port 5002
  valerix healthcheck --url http://127.0.0.1:5001";

pub const DESCRIBE: &str = "\
Example:
  valerix describe --json";

pub const COMPLETIONS: &str = "\
Example:
  valerix completions bash > ~/.local/share/bash-completion/completions/valerix";
