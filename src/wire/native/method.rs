use serde::Serialize;

use super::time;
use crate::payment::PaymentMethod;

/// Without its token, which only whoever charges it has to know.
#[derive(Serialize)]
pub(super) struct MethodBody<'a> {
    id: &'a str,
    customer: &'a str,
    processor: &'a str,
    status: &'static str,
    brand: Option<&'a str>,
    last4: Option<&'a str>,
    expiry_month: Option<u8>,
    expiry_year: Option<u16>,
    created_at: String,
    updated_at: String,
}

impl<'a> From<&'a PaymentMethod> for MethodBody<'a> {
    fn from(method: &'a PaymentMethod) -> Self {
        let (expiry_month, expiry_year) = method.expiry.unzip();
        MethodBody {
            id: method.id.as_str(),
            customer: method.customer.as_str(),
            processor: &method.processor,
            status: method.state.as_str(),
            brand: method.brand.as_deref(),
            last4: method.last4.as_deref(),
            expiry_month,
            expiry_year,
            created_at: time(method.created_at),
            updated_at: time(method.updated_at),
        }
    }
}
