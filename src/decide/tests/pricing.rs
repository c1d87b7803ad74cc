use crate::catalog::{MAIN_LINE, Price, Product, Terms};
use crate::decide::pricing::{Offer, price_lines};
use crate::error::Error;
use crate::money::{Amount, Currency};
use crate::samples::{at, eur, id, sums};
use crate::session::NewLine;
use crate::time::Interval;

/// What the catalogue offers: a tier at an amount that names it.
fn offer(seed: u8, amount: Amount, terms: Terms) -> Offer {
    Offer {
        product: Product {
            id: id(90),
            tier: "pro".to_owned(),
            name: "Pro".to_owned(),
            description: None,
            line: MAIN_LINE.to_owned(),
            rank: 2,
            created_at: at(0),
            archived_at: None,
            revision: 1,
        },
        price: Price {
            id: id(seed),
            product: id(90),
            unit_amount: amount,
            exponent: 2,
            terms,
            created_at: at(0),
            archived_at: None,
            revision: 1,
        },
    }
}

fn once(lasting: Option<Interval>) -> Terms {
    Terms::OneTime {
        lasting,
        access_days: None,
    }
}

fn again(every: Interval) -> Terms {
    Terms::Recurring {
        every,
        trial_days: None,
    }
}

fn tier() -> NewLine {
    NewLine::tier("pro", Currency::EUR)
}

#[test]
fn of_several_prices_one_time_goes_before_recurring_then_the_shorter_interval_none_last() {
    // In the order of choice; each is taken while it is there, in whatever order they come.
    let mut left = vec![
        offer(5, eur(1), once(Some(Interval::DAY))),
        offer(4, eur(2), once(Some(Interval::MONTH))),
        offer(3, eur(3), once(Some(Interval::YEAR))),
        offer(2, eur(4), once(None)),
        offer(1, eur(5), again(Interval::DAY)),
    ];
    while left.len() > 1 {
        for turn in 0..left.len() {
            let mut offers = left.clone();
            offers.rotate_left(turn);
            let priced = price_lines(&[tier()], &[offers]).unwrap();
            assert_eq!(priced.totals, sums(left[0].price.unit_amount.as_minor()));
            assert_eq!(priced.lines[0].price.as_ref(), Some(&left[0].price.id));
        }
        left.remove(0);
    }
    let only_recurring = price_lines(&[tier()], &[left]);
    assert_eq!(only_recurring.unwrap_err().field(), Some("lines[0]"));
}

#[test]
fn equal_choices_are_decided_by_id_so_that_every_process_decides_alike() {
    let [a, b] = [offer(1, eur(1), once(None)), offer(2, eur(2), once(None))];
    let first = a.price.id.clone().min(b.price.id.clone());
    for offers in [[a.clone(), b.clone()], [b, a]] {
        let priced = price_lines(&[tier()], &[offers.to_vec()]).unwrap();
        assert_eq!(priced.lines[0].price.as_ref(), Some(&first));
    }
}

#[test]
fn a_line_freezes_what_it_sells_and_what_that_grants() {
    let offers = vec![offer(1, eur(999), once(Some(Interval::MONTH)))];
    let lines = [tier().quantity(3), NewLine::inline("Shipping", eur(450))];
    let priced = price_lines(&lines, &[offers, Vec::new()]).unwrap();
    assert_eq!(
        (priced.currency, priced.exponent, priced.totals),
        (Some(Currency::EUR), 2, sums(3 * 999 + 450))
    );
    let [sold, inline] = &priced.lines[..] else {
        panic!("{priced:?}");
    };
    assert_eq!(
        (sold.name.as_str(), sold.quantity, sold.unit_amount, sold.totals),
        ("Pro", 3, 999, sums(2_997))
    );
    let grants = sold.grants.as_ref().unwrap();
    assert_eq!(
        (grants.tier.as_str(), grants.line.as_str(), grants.rank, grants.days),
        ("pro", "main", 2, Some(30))
    );
    assert_eq!(
        (inline.name.as_str(), &inline.price, &inline.product, &inline.grants),
        ("Shipping", &None, &None, &None)
    );
    let nothing = price_lines(&[], &[]).unwrap();
    assert_eq!(
        (nothing.currency, nothing.totals, nothing.lines.len()),
        (None, sums(0), 0)
    );
}

#[test]
fn how_long_a_purchase_lasts_follows_from_its_price() {
    let quarter = Interval::new(crate::time::Unit::Month, 3).unwrap();
    for (lasting, access_days, expected) in [
        (None, None, None),
        (None, Some(10), Some(10)),
        (Some(Interval::DAY), None, Some(1)),
        (Some(Interval::WEEK), None, Some(7)),
        (Some(quarter), None, Some(90)),
        (Some(Interval::YEAR), None, Some(365)),
        (Some(Interval::YEAR), Some(366), Some(366)),
    ] {
        let terms = Terms::OneTime { lasting, access_days };
        let priced = price_lines(&[tier()], &[vec![offer(1, eur(1), terms)]]).unwrap();
        assert_eq!(priced.lines[0].grants.as_ref().unwrap().days, expected, "{terms:?}");
    }
}

#[test]
fn what_cannot_be_priced_is_refused_by_line() {
    let usd = Amount::minor(1, Currency::USD).unwrap();
    let max = Amount::minor(Amount::MAX_MINOR, Currency::EUR).unwrap();
    let inline = |amount| NewLine::inline("x", amount);
    let check = |lines: &[NewLine], refused: Option<&str>| {
        let offers = vec![Vec::new(); lines.len()];
        let priced = price_lines(lines, &offers);
        assert_eq!(priced.as_ref().err().and_then(Error::field), refused, "{lines:?}");
    };
    check(
        &[inline(eur(1)), inline(eur(1)), inline(usd)],
        Some("lines[2].currency"),
    );
    check(&[inline(max)], None);
    check(&[inline(max), inline(eur(0))], None);
    check(&[inline(eur(1)), inline(max)], Some("lines[1]"));
    check(&[inline(max).quantity(2)], Some("lines[0]"));
    check(&[inline(eur(0)), inline(max).quantity(1_000_000)], Some("lines[1]"));
    let unknown = price_lines(&[tier()], &[Vec::new()]).unwrap_err();
    assert_eq!(unknown.code(), "not_found");
    assert!(unknown.to_string().contains("pro in EUR"), "{unknown}");
}
