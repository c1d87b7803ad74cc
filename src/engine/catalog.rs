use super::{App, Page, page, page_size};
use crate::catalog::{NewPrice, NewProduct, Price, Product};
use crate::change::Change;
use crate::decide;
use crate::error::Result;
use crate::id::PriceId;
use crate::store::{self, Tx};

/// Products and prices of an app in a mode.
#[derive(Clone, Copy, Debug)]
pub struct Catalog<'a>(pub(super) &'a App);

impl Catalog<'_> {
    /// Makes a product and its prices what is given, by tier: a price whose amount or length differs
    /// is archived and a new one put in its place; prices that are not given are archived. Setting
    /// what is already so writes nothing. Idempotent by state.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] naming the field; [`crate::Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns, all of it or nothing.
    ///
    /// # Events
    /// `product.created` or `product.updated`, `price.created`, `price.archived`.
    pub fn set(&self, product: NewProduct) -> Result<Product> {
        let new = product.checked()?;
        let moment = self.0.moment("catalog.set")?;
        self.0.core.write_alone(moment, move |tx| {
            let (known, on_sale) = offered(tx, &new.tier)?;
            let mut change = Change::new();
            let product = decide::catalog::set_product(known.as_ref(), &on_sale, &new, &mut tx.setting(), &mut change);
            tx.apply(&change)?;
            Ok(product)
        })
    }

    /// Puts one price on sale and leaves the tier's others alone. A tier that is new becomes a
    /// product of the main line with the tier as its name. Idempotent by state.
    ///
    /// # Errors
    /// As [`Catalog::set`].
    ///
    /// # Durability
    /// As [`Catalog::set`].
    ///
    /// # Events
    /// As [`Catalog::set`].
    pub fn set_price(&self, price: NewPrice) -> Result<Price> {
        let new = price.checked()?;
        let moment = self.0.moment("catalog.set_price")?;
        self.0.core.write_alone(moment, move |tx| {
            let (known, on_sale) = offered(tx, &new.tier)?;
            let mut change = Change::new();
            let price = decide::catalog::set_price(known, &on_sale, &new, &mut tx.setting(), &mut change);
            tx.apply(&change)?;
            Ok(price)
        })
    }

    /// Takes a price off sale. Open sessions keep what they froze. Idempotent by state.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`]; [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    ///
    /// # Durability
    /// On disk when this returns.
    ///
    /// # Events
    /// `price.archived`, once.
    pub fn archive_price(&self, price: &PriceId) -> Result<Price> {
        self.0.own_mode(price.as_str(), price.mode())?;
        let wanted = price.clone();
        let moment = self.0.moment("catalog.archive_price")?;
        self.0.core.write_alone(moment, move |tx| {
            let price = store::catalog::price(tx.sql, tx.world, wanted.as_str())?;
            let mut change = Change::new();
            let price = decide::catalog::archive(price, &mut tx.setting(), &mut change);
            tx.apply(&change)?;
            Ok(price)
        })
    }

    /// Products with the prices at which each is on sale, by tier: up to `limit` (1 to 100) after a
    /// tier.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for the limit; [`crate::Error::Storage`].
    pub fn list(&self, limit: u32, after: Option<&str>) -> Result<Page<(Product, Vec<Price>)>> {
        let limit = page_size(limit)?;
        self.0.core.view(self.0.world, |view| {
            let products = store::catalog::products(view.sql, view.world, after.unwrap_or(""), limit + 1)?;
            let found = page(products, limit);
            let data = found
                .data
                .into_iter()
                .map(|product| {
                    let prices = store::catalog::on_sale(view.sql, view.world, &product)?;
                    Ok((product, prices))
                })
                .collect::<Result<_>>()?;
            Ok(Page {
                data,
                has_more: found.has_more,
            })
        })
    }

    /// A price, on sale or archived.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`]; [`crate::Error::WrongMode`]; [`crate::Error::Storage`].
    pub fn price(&self, price: &PriceId) -> Result<Price> {
        self.0.own_mode(price.as_str(), price.mode())?;
        self.0.core.view(self.0.world, |view| {
            store::catalog::price(view.sql, view.world, price.as_str())
        })
    }
}

/// The product of a tier, if there is one, and its prices on sale.
fn offered(tx: &mut Tx<'_>, tier: &str) -> Result<(Option<Product>, Vec<Price>)> {
    let known = store::catalog::product(tx.sql, tx.world, tier)?;
    let on_sale = match &known {
        Some(product) => store::catalog::on_sale(tx.sql, tx.world, product)?,
        None => Vec::new(),
    };
    Ok((known, on_sale))
}
