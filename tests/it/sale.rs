//! One sale, end to end: what the buyer paid for is what the buyer may use, and the world hears of
//! it.

use std::time::Duration;

use tillite::webhook::Format;
use tillite::{Budget, Currency, NewSession, SessionState, Status};

use crate::kit::{Shop, verified};

#[test]
fn a_sale_from_catalogue_to_entitlement() {
    let shop = Shop::open();
    let secret = shop.endpoint(Format::XPay);
    let standard = shop.endpoint(Format::Standard);
    let session = shop
        .app
        .sessions()
        .create(
            NewSession::tier("member", Currency::EUR)
                .customer("u_1")
                .return_to("https://shop.example/order/{CHECKOUT_SESSION_ID}"),
        )
        .unwrap();
    assert_eq!(session.state, SessionState::Open);
    let paid = shop.app.sessions().pay(&session.id, "tok_1").unwrap();
    assert_eq!(paid.session.state, SessionState::Complete);
    let held = shop.app.entitlements().get("u_1").unwrap();
    assert_eq!(
        (held.status, held.version, held.tier.as_str()),
        (Status::Active, 1, "member")
    );
    let ran = shop.engine.run_due(Budget::items(100)).unwrap();
    assert!(ran.delivered > 4, "{ran:?}");
    for request in &shop.receiver.requests() {
        let (format, secret) = if request.url.ends_with("xpay") {
            (Format::XPay, &secret)
        } else {
            (Format::Standard, &standard)
        };
        assert!(verified(format, secret, request, request.signed_at));
    }
    shop.clock.turn(Duration::from_secs(31 * 86_400));
    let lapsed = shop.app.entitlements().get("u_1").unwrap();
    assert_eq!(
        (lapsed.status, lapsed.version, lapsed.active),
        (Status::Expired, 2, false)
    );
    shop.engine.run_due(Budget::items(100)).unwrap();
    assert_eq!(shop.app.entitlements().get("u_1").unwrap(), lapsed);
    shop.clean();
}
