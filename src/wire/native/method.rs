use serde::Serialize;

use super::payment::FailureBody;
use super::{maybe, time};
use crate::hook::Action;
use crate::id::PaymentMethodId;
use crate::payment::{PaymentMethod, Setup};

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

#[derive(Serialize)]
pub(super) struct SetupBody<'a> {
    id: &'a str,
    customer: &'a str,
    number: u32,
    processor: &'a str,
    status: &'static str,
    currency: String,
    payment_method: Option<&'a str>,
    reference: Option<&'a str>,
    failure: Option<FailureBody<'a>>,
    action: Option<&'a Action>,
    action_deadline: Option<String>,
    mismatched: bool,
    created_at: String,
    updated_at: String,
}

impl<'a> From<&'a Setup> for SetupBody<'a> {
    fn from(setup: &'a Setup) -> Self {
        SetupBody {
            id: setup.id.as_str(),
            customer: setup.customer.as_str(),
            number: setup.number,
            processor: &setup.processor,
            status: setup.state.as_str(),
            currency: setup.currency.to_string(),
            payment_method: setup.method.as_ref().map(PaymentMethodId::as_str),
            reference: setup.reference.as_deref(),
            failure: setup.failure.as_ref().map(FailureBody::from),
            action: setup.action.as_ref(),
            action_deadline: maybe(setup.action_deadline),
            mismatched: setup.mismatched,
            created_at: time(setup.created_at),
            updated_at: time(setup.updated_at),
        }
    }
}
