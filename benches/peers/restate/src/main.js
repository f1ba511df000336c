// One process with the three services. Restate's server is another process, and calls this one.
import http2 from "node:http2";
import * as restate from "@restatedev/restate-sdk";
import { inventory } from "./inventory.js";
import { orders } from "./orders.js";
import { payments } from "./payments.js";

const services = [orders, inventory, payments];
const endpoint = restate.createEndpointHandler({ services });
http2.createServer(endpoint).listen(Number(process.env.PORT), "127.0.0.1");
