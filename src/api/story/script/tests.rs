//! Tests of the chapters: their texts, and what their actions expect.

use std::collections::HashSet;

use super::*;

#[test]
fn each_text_of_a_chapter_is_one_sentence_and_its_id_is_unique() {
    let ids: HashSet<_> = CHAPTERS.iter().map(|chapter| chapter.captions.id).collect();
    assert_eq!(ids.len(), CHAPTERS.len());
    for Chapter { captions, .. } in CHAPTERS {
        for text in [
            captions.injected,
            captions.customer_sees,
            captions.platform_does,
            captions.proved,
        ] {
            let is_sentence = text.ends_with('.') && !text.trim_end_matches('.').contains(". ");
            assert!(is_sentence, "{}: {text}", captions.id);
        }
    }
}

#[test]
fn customers_see_a_time_only_where_the_chapter_checks_it() {
    for Chapter { captions, actions } in CHAPTERS {
        let words: Vec<_> = captions.customer_sees.split(' ').collect();
        let named = words.windows(2).filter(|pair| {
            pair[0].starts_with(|first: char| first.is_ascii_digit())
                && pair[1].trim_end_matches([',', ':', ';', '.']) == "s"
        });
        let limits = actions.iter().filter_map(|action| match action {
            Action::PlaceOrders { at_most_ms, .. } => *at_most_ms,
            Action::PlaceUntilFast { at_most_ms, .. } => Some(*at_most_ms),
            _ => None,
        });
        assert!(named.count() <= limits.count(), "{}", captions.id);
    }
    let limit = format!("within {:.1} s", f64::from(ONE_CALL_MS) / 1000.0);
    assert!(CIRCUIT_BREAKER.captions.customer_sees.contains(&limit));
}

#[test]
fn every_title_fits_80_columns_behind_its_number() {
    for Chapter { captions, .. } in CHAPTERS {
        let headline = format!("Chapter 12 of 12: {}", captions.title);
        assert!(headline.chars().count() <= 80, "{headline}");
    }
}

#[test]
fn every_chapter_checks_something_and_only_a_slow_inventory_outlives_its_chapter() {
    for Chapter { captions, actions } in CHAPTERS {
        let is_check = |action: &Action| {
            !matches!(
                action,
                Action::WaitUntilHealthy
                    | Action::SetLatency { .. }
                    | Action::AddRule { .. }
                    | Action::EndFaults
            )
        };
        assert!(actions.iter().any(is_check), "{}", captions.id);
        let is_fault =
            |action: &Action| matches!(action, Action::SetLatency { .. } | Action::AddRule { .. });
        let outlives_chapter = captions.id == SLOW_INVENTORY.captions.id;
        if actions.iter().any(is_fault) && !outlives_chapter {
            assert!(actions.contains(&Action::EndFaults), "{}", captions.id);
        }
    }
    assert!(INVENTORY_IS_BACK.actions.starts_with(&[Action::EndFaults]));
}

#[test]
fn only_a_chapter_that_adds_a_rule_expects_it_to_fire() {
    for Chapter { captions, actions } in CHAPTERS {
        let position = |is: fn(&Action) -> bool| actions.iter().position(is);
        let added = position(|action| matches!(action, Action::AddRule { .. }));
        if let Some(fired) = position(|action| matches!(action, Action::ExpectFired { .. })) {
            assert!(added.is_some_and(|added| added < fired), "{}", captions.id);
        }
    }
}

#[test]
fn the_story_orders_less_than_it_wants_in_stock() {
    let orders = |action: &Action| match action {
        Action::PlaceOrders { orders, .. } => *orders,
        Action::PlaceUntilConfirmed { max_orders, .. }
        | Action::PlaceUntilFast { max_orders, .. }
        | Action::ExpectLight { max_orders, .. } => *max_orders,
        _ => 0,
    };
    let total: usize = CHAPTERS
        .iter()
        .flat_map(|chapter| chapter.actions)
        .map(orders)
        .sum();
    assert!(
        i64::try_from(total).unwrap() < super::super::STORY.min_stock,
        "{total}"
    );
}
