//! Currency codes and their minor units.

use std::fmt;

use super::table::CURRENCIES;
use crate::error::{Error, Invalid};

/// A currency of ISO 4217 that has a minor unit, as its three-letter code.
///
/// Codes are upper case on input: `"eur"` is refused, so that one spelling exists. How many
/// decimals the code has comes from ISO 4217 alone; a processor that counts otherwise converts at
/// its own edge, by [`Units`](crate::Units).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// What a code of the table may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Prices.
    Money,
    /// Units of account that no buyer pays in; read, never priced in.
    Fund,
    /// Withdrawn; old rows may hold them, new prices may not.
    Historic,
}

macro_rules! constants {
    ($($(#[$doc:meta])* $code:ident)*) => {
        impl Currency {
            $($(#[$doc])* pub const $code: Currency = Currency::of(stringify!($code));)*

            /// The codes that have a constant, for the test that each is in the table.
            #[cfg(test)]
            pub(super) const CONSTANTS: &[Currency] = &[$(Currency::$code),*];
        }
    };
}

constants! {
    /// United Arab Emirates dirham.
    AED
    /// Australian dollar.
    AUD
    /// Bahraini dinar.
    BHD
    /// Brazilian real.
    BRL
    /// Canadian dollar.
    CAD
    /// Swiss franc.
    CHF
    /// Unidad de Fomento.
    CLF
    /// Chilean peso.
    CLP
    /// Renminbi (Chinese) yuan.
    CNY
    /// Czech koruna.
    CZK
    /// Danish krone.
    DKK
    /// Egyptian pound.
    EGP
    /// Euro.
    EUR
    /// Pound sterling.
    GBP
    /// Hong Kong dollar.
    HKD
    /// Hungarian forint.
    HUF
    /// Indian rupee.
    INR
    /// Icelandic króna.
    ISK
    /// Jordanian dinar.
    JOD
    /// Japanese yen.
    JPY
    /// South Korean won.
    KRW
    /// Kuwaiti dinar.
    KWD
    /// Malagasy ariary.
    MGA
    /// Mexican peso.
    MXN
    /// Malaysian ringgit.
    MYR
    /// Nigerian naira.
    NGN
    /// Norwegian krone.
    NOK
    /// New Zealand dollar.
    NZD
    /// Omani rial.
    OMR
    /// Pakistani rupee.
    PKR
    /// Polish złoty.
    PLN
    /// Saudi riyal.
    SAR
    /// Swedish krona/kronor.
    SEK
    /// Singapore dollar.
    SGD
    /// Thai baht.
    THB
    /// Tunisian dinar.
    TND
    /// Turkish lira.
    TRY
    /// New Taiwan dollar.
    TWD
    /// Ugandan shilling.
    UGX
    /// United States dollar.
    USD
    /// Unidad previsional.
    UYW
    /// Vietnamese đồng.
    VND
    /// South African rand.
    ZAR
}

impl Currency {
    const fn of(code: &str) -> Currency {
        let bytes = code.as_bytes();
        Currency([bytes[0], bytes[1], bytes[2]])
    }

    /// The currency of an upper-case ISO 4217 code, withdrawn ones and units of account included.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything that is not in ISO 4217 or has no minor unit (gold, say).
    pub fn parse(code: &str) -> Result<Currency, Error> {
        CURRENCIES
            .binary_search_by_key(&code, |(known, ..)| known)
            .map(|at| Currency::of(CURRENCIES[at].0))
            .map_err(|_| {
                Invalid::new(
                    "currency",
                    code,
                    "an upper-case ISO 4217 code with a minor unit, such as EUR",
                )
                .into()
            })
    }

    /// The upper-case code.
    #[must_use]
    pub fn code(&self) -> &str {
        // The bytes come from the table or from a literal, both ASCII.
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// How many decimals the major unit has: 0, 2, 3 or 4.
    #[must_use]
    pub fn exponent(self) -> u8 {
        self.entry().map_or(2, |(_, exponent, _)| *exponent)
    }

    /// Whether new prices may be made in it: not withdrawn, and not a unit of account.
    #[must_use]
    pub fn is_chargeable(self) -> bool {
        self.entry().is_some_and(|(.., used)| *used == Use::Money)
    }

    fn entry(self) -> Option<&'static (&'static str, u8, Use)> {
        let at = CURRENCIES
            .binary_search_by_key(&self.code(), |(known, ..)| known)
            .ok()?;
        CURRENCIES.get(at)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
