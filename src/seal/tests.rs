use super::*;

#[test]
fn a_sealed_secret_opens_only_with_its_key_and_in_its_place() {
    let key = SealKey::new(&[7; 32]).unwrap();
    let secret = Secret::new("whsec_canary");
    let sealed = key.seal(&secret, "we_test_1").unwrap();
    assert!(!sealed.windows(6).any(|window| window == b"canary"));
    assert_eq!(key.open(&sealed, "we_test_1").unwrap().expose(), "whsec_canary");
    assert!(key.open(&sealed, "we_test_2").is_err(), "moved to another row");
    assert!(SealKey::new(&[8; 32]).unwrap().open(&sealed, "we_test_1").is_err());
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(key.open(&changed, "we_test_1").is_err(), "byte {at} changed");
    }
    for length in 0..sealed.len() {
        assert!(key.open(&sealed[..length], "we_test_1").is_err(), "cut to {length}");
    }
}

#[test]
fn no_two_sealed_values_are_alike() {
    let key = SealKey::new(&[7; 32]).unwrap();
    let secret = Secret::new("whsec_same");
    assert_ne!(key.seal(&secret, "a").unwrap(), key.seal(&secret, "a").unwrap());
}
