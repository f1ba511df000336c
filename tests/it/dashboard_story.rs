//! The story on the dashboard, in a real browser. The tour in the terminal has the same script.

use serde_json::Value;
use valerix::api::story::STORY;

use crate::dashboard::{open, shows_text};
use crate::demo::{Demo, Directory, ports};
use crate::harness::browser::Browser;
use crate::harness::{Stack, eventually};

/// A chapter's mark in the line of chapters.
fn mark(chapter: usize, state: &str) -> String {
    format!(".story-marks li:nth-child({chapter})[data-state={state}]")
}

/// Plays the story step by step, and stops after this chapter.
async fn play_to(browser: &Browser, chapter: usize) {
    browser.click("#play-story").await;
    browser.click("#story:not([hidden]) #story-pause").await;
    for number in 1..=chapter {
        // The first click ends the time to read the introduction.
        browser.click("#story-next").await;
        let title = format!("Chapter {number} of {}", STORY.chapters.len());
        shows_text(browser, "#story-title", &title).await;
        browser.shows("#story[data-held=true]").await;
    }
}

/// The number of gremlin rules at all services.
async fn rules(stack: &Stack) -> usize {
    let mut rules = 0;
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        let list = service.get("/gremlin/rules").await.json();
        rules += list["rules"].as_array().unwrap().len();
    }
    rules
}

async fn latency_of_inventory(stack: &Stack) -> Value {
    stack.inventory.get("/gremlin/latency").await.json()["enabled"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_plays_to_its_end_and_every_check_holds() {
    let directory = Directory::new("story");
    let demo = Demo::start(&directory.0, ports(), &[]);
    demo.wait_until_running().await;
    let origin = demo.url(0);
    let browser = Browser::open(&origin).await;
    browser.goto(&format!("{origin}/?story=fast")).await;
    for number in 1..=STORY.chapters.len() {
        browser.shows(&mark(number, "proved")).await;
    }
    browser.shows("#story[data-state=ended]").await;
    let summary = browser.text(".story-summary").await;
    let (checks, orders) = summary.split_once(" checks hold: ").unwrap();
    assert!(checks.starts_with("12 chapters, "), "{summary}");
    let [taken, finished, lost, twice] = orders.split(", ").collect::<Vec<_>>()[..] else {
        panic!("{summary}");
    };
    let count = |text: &str| text.split(' ').next().unwrap().parse::<u32>().unwrap();
    // One order while everything works, one for each fault, and 17 for the circuit breaker.
    assert!(count(taken) >= 25, "{summary}");
    assert_eq!(count(taken), count(finished), "{summary}");
    assert_eq!((lost, twice), ("0 lost", "0 charged twice"));
    let shown = browser.attributes("[data-caption=proved] li", "data-passed");
    let shown = shown.await;
    assert!(
        !shown.is_empty() && shown.iter().all(|passed| passed == "true"),
        "{shown:?}"
    );
    browser.click("#story-stop").await;
    browser.shows("#story[hidden]").await;
    assert!(browser.is_focused("#play-story").await);
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_check_is_shown_as_failed_and_stop_ends_the_faults() {
    // The story expects a timeout of 2 s.
    let stack = Stack::with(&[("DOWNSTREAM_TIMEOUT_MS", "1000")]).await;
    let browser = open(&stack).await;
    play_to(&browser, 3).await;
    browser.shows(&mark(2, "proved")).await;
    browser.shows(&mark(3, "failed")).await;
    let check = "#story [data-check='the customer'][data-passed=false]";
    shows_text(&browser, check, "202 after ").await;
    shows_text(&browser, "#story [data-caption=proved] h3", "Not proved").await;
    shows_text(
        &browser,
        "#story [data-caption=customer_sees] li",
        "202 after",
    )
    .await;
    assert_eq!(latency_of_inventory(&stack).await, true);

    browser.click("#story-stop").await;
    shows_text(&browser, ".story-summary", "Stopped in chapter 3.").await;
    shows_text(&browser, ".story-summary", "Its faults have ended.").await;
    assert_eq!(latency_of_inventory(&stack).await, false);
    browser.emulate(390, "dark").await;
    assert_eq!(browser.run("return document.body.scrollWidth").await, 390);
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_faults_of_the_story_end_when_the_page_is_left() {
    let stack = Stack::start().await;
    let browser = open(&stack).await;
    play_to(&browser, 3).await;
    assert_eq!(latency_of_inventory(&stack).await, true);
    browser.goto(&format!("{}/livez", stack.order.url)).await;
    eventually("the latency to end", async || {
        (latency_of_inventory(&stack).await == false).then_some(())
    })
    .await;
    browser.was_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_whose_response_is_missing_ends_when_the_page_is_left() {
    let stack = Stack::start().await;
    let browser = open(&stack).await;
    // The page never gets the response to the story's first rule.
    let hold = "const { fetch } = window;
        window.fetch = async (url, options) => {
            const response = await fetch(url, options);
            const isRule = options?.method === 'POST' && String(url).includes('/gremlin/rules');
            if (!isRule) return response;
            window.isRuleAdded = true;
            return new Promise(() => {});
        };
        document.querySelector('#story-pace').value = 'fast'";
    browser.run(hold).await;
    browser.click("#play-story").await;
    browser.until("a rule", "window.isRuleAdded === true").await;
    assert_eq!(rules(&stack).await, 1);
    browser.run("dispatchEvent(new Event('pagehide'))").await;
    eventually("the rule to end", async || {
        (rules(&stack).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_gremlin_the_button_says_that_there_is_no_story() {
    let stack = Stack::with(&[("GREMLIN_ENABLED", "false")]).await;
    let browser = open(&stack).await;
    browser.shows("#play-story:disabled").await;
    shows_text(&browser, "#play-story", "the gremlin is disabled").await;
    browser.was_clean().await;

    let locked = Stack::with(&[("GREMLIN_TOKEN", "a-token-of-the-gremlin-0123456789")]).await;
    let browser = open(&locked).await;
    shows_text(&browser, "#play-story", "needs the gremlin's token").await;
    browser.click("#play-story").await;
    browser.shows("#token-dialog[open]").await;
    browser.was_clean().await;
}
