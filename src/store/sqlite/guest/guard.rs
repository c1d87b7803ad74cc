//! What the host's statements may do: they are kept off what is the engine's.
//!
//! SQLite asks an authorizer about everything that a statement would do, through whatever trigger or view,
//! when the statement is compiled. It is in place for as long as the connection is, since putting one in place
//! has every statement compiled anew, and lets everything pass but while a statement of the host's is
//! compiled and run. Such a statement is compiled each time: one that was kept would be the engine's as well.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::super::statement::error;
use super::scan;
use crate::error::Result;
use crate::store::dump::is_secret;

/// What a connection's authorizer and whoever runs statements on it share.
#[derive(Default)]
pub(in crate::store::sqlite) struct Guard {
    /// Whether a statement of the host's is at work.
    on: AtomicBool,
    /// Whether the host's own code has run in the transaction that is open.
    has_hosted: AtomicBool,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    /// Whether the statement names something of the engine's.
    names_ours: bool,
    /// Whether it has the name whose parts would be the engine's.
    has_stem: bool,
    /// Tables that it makes, by its own word or by that of a module for full text.
    made: Vec<String>,
    does: Does,
    /// Why it was refused.
    refused: Option<String>,
}

/// What a statement does, the most of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Does {
    /// It only reads, or finds that there is nothing to do.
    #[default]
    Reads,
    /// It writes rows.
    Writes,
    /// It makes, changes or drops a table or what belongs to one.
    Defines,
}

impl Watched {
    fn notes(&mut self, action: &AuthAction<'_>) {
        if let AuthAction::CreateTable { table_name } = action {
            self.made.push((*table_name).to_owned());
        }
        self.does = self.does.max(match action {
            AuthAction::Select
            | AuthAction::Recursive
            | AuthAction::Read { .. }
            | AuthAction::Function { .. }
            | AuthAction::Pragma { .. } => Does::Reads,
            AuthAction::Insert { .. } | AuthAction::Update { .. } | AuthAction::Delete { .. } => Does::Writes,
            _ => Does::Defines,
        });
    }
}

impl Guard {
    /// Puts the authorizer in place.
    pub(in crate::store::sqlite) fn watch(self: &Arc<Self>, connection: &mut Connection) -> Result<()> {
        let guard = Arc::clone(self);
        let hook = move |context: AuthContext<'_>| guard.allows(&context);
        connection.authorizer(Some(hook)).placed()
    }

    /// Notes that the host's own code runs.
    pub(super) fn note_hosted(&self) {
        self.has_hosted.store(true, Ordering::Release);
    }

    /// Whether the host's own code has run since this was asked before.
    pub(in crate::store::sqlite) fn take_hosted(&self) -> bool {
        self.has_hosted.swap(false, Ordering::AcqRel)
    }

    fn allows(&self, context: &AuthContext<'_>) -> Authorization {
        if !self.on.load(Ordering::Acquire) {
            return Authorization::Allow;
        }
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.notes(&context.action);
        let is_temporary = context.database_name == Some("temp");
        match refusal(&context.action, is_temporary, &watched) {
            None => Authorization::Allow,
            Some(why) => {
                watched.refused.get_or_insert(why);
                Authorization::Deny
            }
        }
    }

    /// Has the authorizer look, until what this answers is dropped.
    pub(super) fn looking(&self, sql: &str) -> Looks<'_> {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = Watched {
            names_ours: scan::has_name_from(sql, OURS),
            has_stem: scan::has_name(sql, STEM),
            ..Watched::default()
        };
        self.on.store(true, Ordering::Release);
        Looks(self)
    }
}

/// A statement of the host's that is looked at.
pub(super) struct Looks<'g>(&'g Guard);

impl Looks<'_> {
    pub(super) fn refused(&self) -> Option<String> {
        self.seen(|watched| watched.refused.clone())
    }

    /// The tables that the statement makes, if one of them may refer to the engine's.
    pub(super) fn may_refer(&self) -> Vec<String> {
        self.seen(|watched| {
            let made = watched.made.iter().filter(|_| watched.names_ours);
            made.cloned().collect()
        })
    }

    /// What it does, once it is compiled.
    pub(super) fn does(&self) -> Does {
        self.seen(|watched| watched.does)
    }

    fn seen<T>(&self, of: impl FnOnce(&Watched) -> T) -> T {
        of(&self.0.watched.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks away while a statement of the engine's runs between the host's.
    pub(super) fn away<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.on.store(false, Ordering::Release);
        let answer = work();
        self.0.on.store(true, Ordering::Release);
        answer
    }
}

impl Drop for Looks<'_> {
    fn drop(&mut self) {
        self.0.on.store(false, Ordering::Release);
    }
}

/// What putting an authorizer in place answers: nothing in some versions of the library, whether it worked
/// in others.
trait Placed {
    fn placed(self) -> Result<()>;
}

impl Placed for () {
    fn placed(self) -> Result<()> {
        Ok(())
    }
}

impl Placed for rusqlite::Result<()> {
    fn placed(self) -> Result<()> {
        self.map_err(|found| error(&found))
    }
}

/// How the name of everything begins that is the engine's.
const OURS: &str = "tillite_";

/// A table for full text is kept in others, whose names are its own and a word more: those of one of this name
/// would begin like the engine's.
const STEM: &str = "tillite";

const TEMPORARY: &str = "what is temporary is gone with the connection, at any time; make a table";

pub(super) fn is_ours(name: &str) -> bool {
    name.get(..OURS.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(OURS))
}

/// Why a statement of the host's may not do this; none if it may. What is not known here is refused.
fn refusal(action: &AuthAction<'_>, is_temporary: bool, watched: &Watched) -> Option<String> {
    let unless_ours = |names: &[&str]| {
        let ours = names.iter().find(|name| is_ours(name))?;
        Some(format!("{ours} is the engine's; write what is named otherwise"))
    };
    match *action {
        AuthAction::Select | AuthAction::Recursive => None,
        AuthAction::Function { function_name } => {
            let loads = function_name.eq_ignore_ascii_case("load_extension");
            loads.then(|| "no code can be loaded here".to_owned())
        }
        AuthAction::Read {
            table_name,
            column_name,
        } => {
            let secret = is_secret(table_name, column_name);
            secret.then(|| format!("{table_name}.{column_name} holds a secret; name the columns that you want"))
        }
        AuthAction::CreateTable { .. }
        | AuthAction::CreateVtable { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::CreateIndex { .. }
        | AuthAction::CreateTrigger { .. }
            if is_temporary =>
        {
            Some(TEMPORARY.to_owned())
        }
        AuthAction::CreateVtable { table_name, .. } if table_name.eq_ignore_ascii_case(STEM) => Some(format!(
            "{table_name} with a word more is the engine's; call it otherwise"
        )),
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name }
        | AuthAction::CreateTable { table_name }
        | AuthAction::DropTable { table_name }
        | AuthAction::CreateVtable { table_name, .. }
        | AuthAction::DropVtable { table_name, .. }
        | AuthAction::Analyze { table_name } => unless_ours(&[table_name]),
        // What a table is renamed to is not asked about, so the statement may not have such a word at all.
        AuthAction::AlterTable { table_name, .. } => unless_ours(&[table_name]).or_else(|| {
            let why = "a table of yours is not to be called tillite or tillite_ and more, nor to refer to such a one";
            (watched.names_ours || watched.has_stem).then(|| why.to_owned())
        }),
        AuthAction::CreateView { view_name } | AuthAction::DropView { view_name } => unless_ours(&[view_name]),
        AuthAction::CreateIndex { index_name, table_name } | AuthAction::DropIndex { index_name, table_name } => {
            unless_ours(&[index_name, table_name])
        }
        // What a trigger does is asked about when something fires it, which may be a statement of the engine's.
        AuthAction::CreateTrigger {
            trigger_name,
            table_name,
        } => unless_ours(&[trigger_name, table_name]).or_else(|| {
            let why = "a trigger names nothing that begins with tillite_; run its statement where its event is";
            watched.names_ours.then(|| why.to_owned())
        }),
        AuthAction::DropTrigger {
            trigger_name,
            table_name,
        } => unless_ours(&[trigger_name, table_name]),
        AuthAction::Reindex { index_name } => unless_ours(&[index_name]),
        // Full-text tables and trees of boxes ask these by themselves; they change nothing.
        AuthAction::Pragma {
            pragma_name: "data_version" | "page_size",
            pragma_value: None,
        } => None,
        AuthAction::Pragma { .. } => Some("PRAGMA is not for consumers".to_owned()),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            Some("only the engine's own file belongs to its transaction".to_owned())
        }
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            Some("the transaction is the engine's; answer an error to undo an event".to_owned())
        }
        AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTrigger { .. } => Some(TEMPORARY.to_owned()),
        _ => Some("that is not for consumers".to_owned()),
    }
}
