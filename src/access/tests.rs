use super::*;
use crate::id::Mint;

fn draw() -> NewApiKey {
    let id = Mint::new([7; 32], Timestamp::MIN).id(Mode::Test);
    draw_key(id, Mode::Test, Timestamp::MIN).unwrap()
}

#[test]
fn a_key_accepts_its_own_secret_until_it_is_revoked() {
    let NewApiKey { mut key, secret } = draw();
    let at = |millis| Timestamp::from_millis(millis).unwrap();
    assert!(key.accepts(secret.expose(), at(5)));
    assert!(!key.accepts(draw().secret.expose(), at(5)));
    key.revoked_at = Some(at(5));
    assert!(key.accepts(secret.expose(), at(4)));
    assert!(!key.accepts(secret.expose(), at(5)));
}

#[test]
fn a_secret_is_found_by_its_public_part_alone() {
    let NewApiKey { key, secret } = draw();
    assert_eq!(lookup_part(secret.expose()), Some((Mode::Test, key.prefix.as_str())));
    assert_eq!(key.prefix.len(), "sk_test_".len() + LOOKUP);
    for text in [
        "",
        "sk_test_",
        "sk_prod_x",
        "pk_test_0123456789",
        &secret.expose()[1..],
        &format!("{}0", secret.expose()),
    ] {
        assert_eq!(lookup_part(text), None, "{text}");
    }
    assert!(!format!("{:?}", draw()).contains(&secret.expose()[20..]));
}
