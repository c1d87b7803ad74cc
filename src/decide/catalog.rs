//! Putting products and prices on sale. Setting what is already so writes nothing.

use crate::catalog::{NewPrice, NewProduct, Price, Product};
use crate::change::{Change, Setting};
use crate::event::{EventKind, Happening, Subject};

/// Makes the product and its prices what `new` says: prices that `new` does not have are archived.
pub(crate) fn set_product(
    known: Option<&Product>,
    on_sale: &[Price],
    new: &NewProduct,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Product {
    let product = put_product(known, new, at, change);
    for price in on_sale {
        if !new.prices.iter().any(|wanted| wanted.slot() == price.slot()) {
            archive(price.clone(), at, change);
        }
    }
    for price in &new.prices {
        put_price(&product, on_sale, price, at, change);
    }
    product
}

/// Puts one price on sale and leaves the others alone. A tier that nobody sells yet becomes a
/// product of the main line whose name is the tier's.
pub(crate) fn set_price(
    known: Option<Product>,
    on_sale: &[Price],
    new: &NewPrice,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Price {
    let product = match known {
        Some(product) => product,
        None => put_product(None, &NewProduct::new(&new.tier, &new.tier), at, change),
    };
    put_price(&product, on_sale, new, at, change)
}

/// Takes a price off sale. One that is off sale already stays as it is.
pub(crate) fn archive(mut price: Price, at: &mut Setting<'_>, change: &mut Change) -> Price {
    if price.archived_at.is_none() {
        price.archived_at = Some(at.now);
        change.record(
            Subject::Price(price.clone()),
            [Happening::plain(EventKind::PriceArchived)],
        );
        price.revision += 1;
    }
    price
}

fn put_product(known: Option<&Product>, new: &NewProduct, at: &mut Setting<'_>, change: &mut Change) -> Product {
    let kind = match known {
        Some(_) => EventKind::ProductUpdated,
        None => EventKind::ProductCreated,
    };
    let mut after = Product {
        id: known.map_or_else(|| at.id(), |known| known.id.clone()),
        tier: new.tier.clone(),
        name: new.name.clone(),
        description: new.description.clone(),
        line: new.line.clone(),
        rank: new.rank,
        created_at: known.map_or(at.now, |known| known.created_at),
        archived_at: None,
        revision: known.map_or(0, |known| known.revision),
    };
    if known != Some(&after) {
        change.record(Subject::Product(after.clone()), [Happening::plain(kind)]);
        after.revision += 1;
    }
    after
}

fn put_price(product: &Product, on_sale: &[Price], new: &NewPrice, at: &mut Setting<'_>, change: &mut Change) -> Price {
    if let Some(same) = on_sale.iter().find(|price| price.is_same_offer(new)) {
        return same.clone();
    }
    if let Some(replaced) = on_sale.iter().find(|price| price.slot() == new.slot()) {
        archive(replaced.clone(), at, change);
    }
    let mut price = Price {
        id: at.id(),
        product: product.id.clone(),
        unit_amount: new.amount,
        exponent: new.amount.currency().exponent(),
        terms: new.terms,
        created_at: at.now,
        archived_at: None,
        revision: 0,
    };
    change.record(
        Subject::Price(price.clone()),
        [Happening::plain(EventKind::PriceCreated)],
    );
    price.revision += 1;
    price
}
