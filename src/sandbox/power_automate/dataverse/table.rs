//! The tables: their columns, and their rows as [`Row`]s.

use jiff::Timestamp;

use crate::sandbox::power_automate::clock::floor;
use crate::sandbox::power_automate::core::State;
use crate::sandbox::power_automate::ids::Guid;
use crate::sandbox::power_automate::odata::cell::{Cell, Column, Kind};
use crate::sandbox::power_automate::odata::{Row, Table};
use crate::sandbox::power_automate::runs::{Mode, Run};
use crate::sandbox::power_automate::world::{ConnectionReference, MachineGroup, Workflow};

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

pub(super) static WORKFLOWS: Table = Table {
    entity: "workflow",
    set: "workflows",
    key: "workflowid",
    columns: &[
        column("workflowid", Kind::Guid),
        column("workflowidunique", Kind::Guid),
        column("name", Kind::Text),
        column("description", Kind::Text),
        column("category", Kind::Number),
        column("statecode", Kind::Number),
        column("statuscode", Kind::Number),
        column("type", Kind::Number),
        column("uiflowtype", Kind::Number),
        column("componentstate", Kind::Number),
        column("ismanaged", Kind::Flag),
        column("createdon", Kind::Time),
        column("modifiedon", Kind::Time),
        column("_ownerid_value", Kind::Guid),
        column("_createdby_value", Kind::Guid),
        column("_modifiedby_value", Kind::Guid),
        column("suspensionreasondetails", Kind::Text),
    ],
};

pub(super) static SESSIONS: Table = Table {
    entity: "flowsession",
    set: "flowsessions",
    key: "flowsessionid",
    columns: &[
        column("flowsessionid", Kind::Guid),
        column("name", Kind::Text),
        column("statuscode", Kind::Number),
        column("statecode", Kind::Number),
        column("createdon", Kind::Time),
        column("modifiedon", Kind::Time),
        column("startedon", Kind::Time),
        column("completedon", Kind::Time),
        column("errorcode", Kind::Text),
        column("errormessage", Kind::Text),
        column("errordetails", Kind::Text),
        column("errorinnererror", Kind::Text),
        column("rundetails", Kind::Text),
        column("context", Kind::Text),
        column("runmode", Kind::Number),
        column("runsessionmode", Kind::Number),
        column("triggertype", Kind::Number),
        column("subcategory", Kind::Number),
        column("connectionid", Kind::Text),
        column("correlationid", Kind::Text),
        column("callbackurl", Kind::Text),
        column("sessionusername", Kind::Text),
        column("processversion", Kind::Text),
        column("runduration", Kind::Number),
        column("runexecutionduration", Kind::Number),
        column("runwaitduration", Kind::Number),
        column("_regardingobjectid_value", Kind::Guid),
        column("_machineid_value", Kind::Guid),
        column("_machinegroupid_value", Kind::Guid),
        column("_ownerid_value", Kind::Guid),
        column("_parentdesktopflowrunid_value", Kind::Guid),
    ],
};

pub(super) static CONNECTION_REFERENCES: Table = Table {
    entity: "connectionreference",
    set: "connectionreferences",
    key: "connectionreferenceid",
    columns: &[
        column("connectionreferenceid", Kind::Guid),
        column("connectionreferencelogicalname", Kind::Text),
        column("connectionreferencedisplayname", Kind::Text),
        column("connectorid", Kind::Text),
        column("connectionid", Kind::Text),
        column("statecode", Kind::Number),
    ],
};

pub(super) static MACHINE_GROUPS: Table = Table {
    entity: "flowmachinegroup",
    set: "flowmachinegroups",
    key: "flowmachinegroupid",
    columns: &[
        column("flowmachinegroupid", Kind::Guid),
        column("name", Kind::Text),
        column("flowgrouptype", Kind::Number),
        column("statecode", Kind::Number),
    ],
};

pub(super) static MACHINES: Table = Table {
    entity: "flowmachine",
    set: "flowmachines",
    key: "flowmachineid",
    columns: &[
        column("flowmachineid", Kind::Guid),
        column("name", Kind::Text),
        column("statecode", Kind::Number),
        column("statuscode", Kind::Number),
        column("agentversion", Kind::Text),
        column("lastheartbeatdate", Kind::Time),
        column("hostingtype", Kind::Number),
        column("sessioncapacity", Kind::Number),
        column("_flowmachinegroupid_value", Kind::Guid),
    ],
};

impl Row for &Run {
    fn cell(&self, column: &'static str) -> Cell<'_> {
        let error = self.error.as_deref();
        let seconds = |from: Option<Timestamp>, to: Option<Timestamp>| match (from, to) {
            (Some(from), Some(to)) => Cell::Number(to.duration_since(from).as_secs()),
            _ => Cell::Null,
        };
        match column {
            "flowsessionid" => Cell::Guid(self.id),
            "name" => Cell::text(Some(&self.name)),
            "statuscode" => Cell::Number(self.status.code().into()),
            "statecode" => Cell::Number(self.status.state().into()),
            "createdon" => Cell::Time(floor(self.created)),
            "modifiedon" => Cell::Time(self.modified),
            "startedon" => Cell::time(self.started.map(floor)),
            "completedon" => Cell::time(self.completed.map(floor)),
            "errorcode" => Cell::text(error.map(|error| error.code.as_str())),
            "errormessage" => Cell::text(error.map(|error| error.message.as_str())),
            "errordetails" => Cell::text(error.and_then(|error| error.details.as_deref())),
            "runmode" => Cell::Number(if self.mode == Mode::Attended { 1 } else { 2 }),
            "runsessionmode" => Cell::Number(1),
            // 3 is RunDesktopFlowDataverseApi.
            "triggertype" => Cell::Number(3),
            "subcategory" => Cell::Number(0),
            "connectionid" => Cell::text(Some(&self.connection)),
            "callbackurl" => Cell::text(self.callback_url.as_deref()),
            "runduration" => seconds(Some(self.created), self.completed),
            "runexecutionduration" => seconds(self.started, self.completed),
            "runwaitduration" => seconds(Some(self.created), self.started),
            "_regardingobjectid_value" => Cell::Guid(self.workflow),
            "_machinegroupid_value" => Cell::guid(self.group_id),
            "_ownerid_value" => Cell::Guid(self.owner),
            _ => Cell::Null,
        }
    }

    fn place(&self) -> u64 {
        self.place
    }

    fn version(&self) -> u64 {
        self.version
    }
}

/// A row that never changes by itself, at its place in the world.
pub(super) struct Fixed<'w, T> {
    place: u64,
    row: &'w T,
}

fn fixed<T>(rows: &[T]) -> impl Iterator<Item = Fixed<'_, T>> {
    (1..).zip(rows).map(|(place, row)| Fixed { place, row })
}

impl Row for Fixed<'_, Workflow> {
    fn cell(&self, column: &'static str) -> Cell<'_> {
        let flow = self.row;
        match column {
            "workflowid" | "workflowidunique" => Cell::Guid(flow.id),
            "name" => Cell::text(Some(&flow.name)),
            "description" => Cell::text(
                Some(&flow.description)
                    .filter(|text| !text.is_empty())
                    .map(String::as_str),
            ),
            "category" => Cell::Number(flow.category.into()),
            "statecode" => Cell::Number(flow.activated.into()),
            "statuscode" => Cell::Number(if flow.activated { 2 } else { 1 }),
            "type" => Cell::Number(1),
            // 2 is Power Automate Desktop.
            "uiflowtype" if flow.category == 6 => Cell::Number(2),
            "componentstate" => Cell::Number((!flow.published).into()),
            "ismanaged" => Cell::Flag(false),
            "createdon" | "modifiedon" => Cell::time("2026-01-15T09:30:00Z".parse().ok()),
            _ => Cell::Null,
        }
    }

    fn place(&self) -> u64 {
        self.place
    }

    fn version(&self) -> u64 {
        500_000 + self.place
    }
}

impl Row for Fixed<'_, ConnectionReference> {
    fn cell(&self, column: &'static str) -> Cell<'_> {
        match column {
            "connectionreferenceid" => Cell::Guid(reference_id(self.place)),
            "connectionreferencelogicalname" | "connectionreferencedisplayname" => {
                Cell::text(Some(&self.row.logical_name))
            }
            "connectorid" => Cell::text(Some("/providers/Microsoft.PowerApps/apis/shared_uiflow")),
            "connectionid" => Cell::text(self.row.connection.as_deref()),
            _ => Cell::Number(0),
        }
    }

    fn place(&self) -> u64 {
        self.place
    }

    fn version(&self) -> u64 {
        600_000 + self.place
    }
}

fn reference_id(place: u64) -> Guid {
    Guid::from_bits(0x5a1b_0000_0000_4000_8001_0000_0000_0000 + u128::from(place))
}

impl Row for Fixed<'_, MachineGroup> {
    fn cell(&self, column: &'static str) -> Cell<'_> {
        match column {
            "flowmachinegroupid" => Cell::Guid(self.row.id),
            "name" => Cell::text(Some(&self.row.name)),
            // The implicit group behind a single machine.
            "flowgrouptype" if self.row.sessions == 1 => Cell::Number(545_940_002),
            _ => Cell::Number(0),
        }
    }

    fn place(&self) -> u64 {
        self.place
    }

    fn version(&self) -> u64 {
        700_000 + self.place
    }
}

/// The one machine of each group. It last reported now when its group is online, and long ago when it is not.
pub(super) struct Machine<'w> {
    group: Fixed<'w, MachineGroup>,
    now: Timestamp,
}

impl Row for Machine<'_> {
    fn cell(&self, column: &'static str) -> Cell<'_> {
        let group = self.group.row;
        match column {
            "flowmachineid" => Cell::Guid(machine_id(self.group.place)),
            "name" => Cell::Text(format!("{}-machine", group.name).into()),
            "statuscode" => Cell::Number(1),
            "agentversion" => Cell::text(Some("2.49.0.0")),
            "lastheartbeatdate" if group.online => Cell::Time(floor(self.now)),
            "lastheartbeatdate" => Cell::time("2026-01-15T09:30:00Z".parse().ok()),
            "sessioncapacity" => Cell::Number(group.sessions.into()),
            "_flowmachinegroupid_value" => Cell::Guid(group.id),
            _ => Cell::Number(0),
        }
    }

    fn place(&self) -> u64 {
        self.group.place
    }

    fn version(&self) -> u64 {
        800_000 + self.group.place
    }
}

fn machine_id(place: u64) -> Guid {
    Guid::from_bits(0x5a1b_0000_0000_4000_8002_0000_0000_0000 + u128::from(place))
}

pub(super) fn machines(state: &State, now: Timestamp) -> impl Iterator<Item = Machine<'_>> {
    machine_groups(state).map(move |group| Machine { group, now })
}

pub(super) fn machine(state: &State, id: Guid, now: Timestamp) -> Option<Machine<'_>> {
    machines(state, now).find(|machine| machine_id(machine.group.place) == id)
}

/// The flows, drafts left out unless they are wanted.
pub(super) fn workflows(state: &State, drafts: bool) -> impl Iterator<Item = Fixed<'_, Workflow>> {
    fixed(&state.world.environment.workflows).filter(move |flow| drafts || flow.row.published)
}

pub(super) fn workflow(state: &State, id: Guid) -> Option<Fixed<'_, Workflow>> {
    workflows(state, false)
        .chain(workflows(state, true))
        .find(|flow| flow.row.id == id)
}

pub(super) fn references(state: &State) -> impl Iterator<Item = Fixed<'_, ConnectionReference>> {
    fixed(&state.world.environment.connection_references)
}

pub(super) fn reference(state: &State, id: Guid) -> Option<Fixed<'_, ConnectionReference>> {
    references(state).find(|reference| reference_id(reference.place) == id)
}

pub(super) fn machine_groups(state: &State) -> impl Iterator<Item = Fixed<'_, MachineGroup>> {
    fixed(&state.world.environment.machine_groups)
}

pub(super) fn machine_group(state: &State, id: Guid) -> Option<Fixed<'_, MachineGroup>> {
    machine_groups(state).find(|group| group.row.id == id)
}
