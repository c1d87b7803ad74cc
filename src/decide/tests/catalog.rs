use super::{assert_repeatable, setting, told};
use crate::catalog::{NewPrice, NewProduct, Price, Product};
use crate::change::Change;
use crate::decide::catalog::{archive, set_price, set_product};
use crate::event::Subject;
use crate::money::{Amount, Currency};
use crate::samples::{at, check_refusal, eur, mint};
use crate::time::Interval;

/// A catalogue of one product, kept as a file would keep it.
#[derive(Default)]
struct Shelf {
    product: Option<Product>,
    prices: Vec<Price>,
    set: u8,
}

impl Shelf {
    /// Sets the product; answers what happened.
    fn set(&mut self, new: NewProduct) -> Vec<String> {
        self.set += 1;
        let mut change = Change::new();
        let mut mint = mint(self.set);
        let new = new.checked().unwrap();
        let product = set_product(
            self.product.as_ref(),
            &self.on_sale(),
            &new,
            &mut setting(&mut mint, i64::from(self.set)),
            &mut change,
        );
        self.product = Some(product);
        self.keep(&change);
        told(&change)
    }

    fn keep(&mut self, change: &Change) {
        for entry in &change.entries {
            if let Subject::Price(price) = &entry.subject {
                self.prices.retain(|known| known.id != price.id);
                self.prices.push(price.clone());
            }
        }
    }

    fn on_sale(&self) -> Vec<Price> {
        let on_sale = self.prices.iter().filter(|price| price.archived_at.is_none());
        on_sale.cloned().collect()
    }

    fn amounts(&self) -> Vec<i64> {
        let mut amounts: Vec<i64> = self
            .on_sale()
            .iter()
            .map(|price| price.unit_amount.as_minor())
            .collect();
        amounts.sort_unstable();
        amounts
    }
}

fn pro() -> NewProduct {
    NewProduct::new("pro", "Pro").rank(2)
}

fn price(minor: i64) -> NewPrice {
    NewPrice::new("pro", eur(minor))
}

#[test]
fn an_identical_catalogue_writes_nothing() {
    let catalogue = || {
        pro()
            .description("All of it")
            .price(price(900))
            .price(price(500).lasting(Interval::MONTH))
            .price(price(400).recurring(Interval::MONTH, Some(7)))
            .price(NewPrice::new("pro", Amount::minor(900, Currency::USD).unwrap()).access_days(10))
    };
    let mut shelf = Shelf::default();
    assert_eq!(
        shelf.set(catalogue()),
        [
            "product.created",
            "price.created",
            "price.created",
            "price.created",
            "price.created"
        ]
    );
    let product = shelf.product.clone();
    assert_eq!(shelf.set(catalogue()), Vec::<String>::new());
    assert_eq!(shelf.product, product);
    assert_eq!(shelf.on_sale().len(), 4);
}

#[test]
fn only_what_changed_is_written_and_a_price_is_replaced_never_changed() {
    let mut shelf = Shelf::default();
    shelf.set(pro().price(price(900)).price(price(500).lasting(Interval::MONTH)));
    let check = |shelf: &mut Shelf, new: NewProduct, expected: &[&str], amounts: &[i64]| {
        assert_eq!(shelf.set(new), expected);
        assert_eq!(shelf.amounts(), amounts);
    };
    let month = || price(500).lasting(Interval::MONTH);
    check(
        &mut shelf,
        pro().rank(3).price(price(900)).price(month()),
        &["product.updated"],
        &[500, 900],
    );
    check(
        &mut shelf,
        pro().rank(3).price(price(950)).price(month()),
        &["price.archived", "price.created"],
        &[500, 950],
    );
    check(&mut shelf, pro().rank(3).price(month()), &["price.archived"], &[500]);
    check(
        &mut shelf,
        pro().rank(3).price(month().access_days(31)),
        &["price.archived", "price.created"],
        &[500],
    );
    check(
        &mut shelf,
        pro().rank(3).price(month()).price(price(950)),
        &["price.archived", "price.created", "price.created"],
        &[500, 950],
    );
    assert_eq!(shelf.prices.len(), 6);
    assert!(
        shelf
            .prices
            .iter()
            .all(|price| price.revision == 1 || price.archived_at.is_some())
    );
}

#[test]
fn a_single_price_leaves_the_others_alone_and_makes_its_product_if_need_be() {
    let mut change = Change::new();
    let mut mint = mint(1);
    set_price(None, &[], &price(900), &mut setting(&mut mint, 0), &mut change);
    assert_eq!(told(&change), ["product.created", "price.created"]);
    let Subject::Product(product) = &change.entries[0].subject else {
        panic!("{change:?}");
    };
    assert_eq!(
        (product.tier.as_str(), product.name.as_str(), product.line.as_str()),
        ("pro", "pro", "main")
    );
    let mut shelf = Shelf::default();
    shelf.set(pro().price(price(900)).price(price(500).lasting(Interval::MONTH)));
    for (new, expected) in [
        (price(900), &[][..]),
        (price(901), &["price.archived", "price.created"]),
        (price(10).lasting(Interval::DAY), &["price.created"]),
    ] {
        let mut change = Change::new();
        let on_sale = shelf.on_sale();
        set_price(
            shelf.product.clone(),
            &on_sale,
            &new,
            &mut setting(&mut mint, 0),
            &mut change,
        );
        assert_eq!(told(&change), expected);
    }
}

#[test]
fn a_price_leaves_the_sale_once() {
    let mut shelf = Shelf::default();
    shelf.set(pro().price(price(900)));
    let mut mint = mint(1);
    let mut change = Change::new();
    let archived = archive(shelf.prices[0].clone(), &mut setting(&mut mint, 50), &mut change);
    assert_eq!(
        (archived.archived_at, told(&change)),
        (Some(at(50)), vec!["price.archived".to_owned()])
    );
    let mut change = Change::new();
    let again = archive(archived.clone(), &mut setting(&mut mint, 60), &mut change);
    assert_eq!(again, archived);
    assert!(change.is_empty());
}

#[test]
fn a_catalogue_is_bounded_by_field() {
    let many = |count: u16| {
        (1..=count).fold(pro(), |product, count| {
            let days = Interval::new(crate::time::Unit::Day, count).unwrap();
            product.price(price(1).lasting(days))
        })
    };
    let historic = Amount::minor(1, Currency::parse("BGN").unwrap()).unwrap();
    for (new, refused) in [
        (many(50), None),
        (many(51), Some("prices")),
        (pro().price(price(1)).price(price(2)), Some("prices[1]")),
        (pro().price(price(1).access_days(0)), Some("access_days")),
        (pro().price(price(1).access_days(36_501)), Some("access_days")),
        (
            pro().price(price(1).recurring(Interval::DAY, Some(0))),
            Some("trial_days"),
        ),
        (
            pro().price(price(1).recurring(Interval::DAY, Some(3_651))),
            Some("trial_days"),
        ),
        (pro().price(NewPrice::new("pro", historic)), Some("currency")),
        (NewProduct::new("Pro", "x"), Some("tier")),
        (NewProduct::new("pro", ""), Some("name")),
        (pro().line("Main"), Some("line")),
        (pro().description("x".repeat(1_001)), Some("description")),
    ] {
        let what = format!("{new:?}");
        check_refusal(&new.checked(), refused, &what);
    }
}

#[test]
fn the_same_catalogue_gives_the_same_change() {
    assert_repeatable(|change| {
        let new = pro().price(price(900)).checked().unwrap();
        let mut mint = mint(1);
        set_product(None, &[], &new, &mut setting(&mut mint, 0), change)
    });
}
