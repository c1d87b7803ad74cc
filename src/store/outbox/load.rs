//! How much there is to do, for whoever looks after a host.

use super::super::Sql;
use super::super::codec::{mode_number, small};
use crate::error::Result;
use crate::id::World;

/// How many deliveries there are to a world's endpoints, counted up to a number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) pending: u64,
    pub(crate) in_flight: u64,
    /// Endpoints that have accepted nothing since a failure.
    pub(crate) failing: u64,
}

/// How much is waiting and under way, and how many endpoints fail.
pub(crate) fn load(sql: &mut dyn Sql, world: World, up_to: u32) -> Result<Load> {
    let (app, mode) = (world.app, mode_number(world.mode));
    let mut count = |of: &str| {
        let mut counted = 0;
        let statement = format!(
            "SELECT count(*) FROM (SELECT 1 FROM tillite_endpoint w CROSS JOIN tillite_delivery d WHERE w.app = $1 \
             AND w.mode = $2 AND w.state IN ('enabled', 'suspended') AND d.app = w.app AND d.mode = w.mode \
             AND d.endpoint = w.number AND d.state IN ('pending', 'in_flight') AND {of} LIMIT $3) AS counted"
        );
        sql.each(&statement, &[app.into(), mode.into(), up_to.into()], &mut |row| {
            counted = small(row.int(0)?)?;
            Ok(())
        })?;
        Ok::<u64, crate::error::Error>(counted)
    };
    let (pending, in_flight) = (count("d.state = 'pending'")?, count("d.state = 'in_flight'")?);
    let mut failing = 0;
    sql.each(
        "SELECT count(*) FROM tillite_endpoint_flow f JOIN tillite_endpoint w ON w.app = f.app AND w.mode = f.mode \
         AND w.number = f.endpoint WHERE f.app = $1 AND f.mode = $2 AND f.failing_since IS NOT NULL \
         AND w.state = 'enabled'",
        &[app.into(), mode.into()],
        &mut |row| {
            failing = small(row.int(0)?)?;
            Ok(())
        },
    )?;
    Ok(Load {
        pending,
        in_flight,
        failing,
    })
}
