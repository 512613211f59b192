//! Lists of members that grantors' own systems keep.

use serde::{Deserialize, Serialize};

/// Somebody is on a group's list for some days, or no longer; nothing in it says who that is.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct MembershipChanged {
    #[prost(string, tag = "1")]
    pub group_id: String,
    /// The person's internal id; of a means' membership none.
    #[prost(string, optional, tag = "2")]
    pub person: Option<String>,
    /// The means' token; of a person's membership none.
    #[prost(string, optional, tag = "3")]
    pub token: Option<String>,
    /// The first day on which it holds.
    #[prost(string, tag = "4")]
    pub from: String,
    /// The first day on which it no longer does, where one is known.
    #[prost(string, optional, tag = "5")]
    pub until: Option<String>,
    /// Whether it is on the list no longer, whatever the days.
    #[prost(bool, tag = "6")]
    pub removed: bool,
}

impl MembershipChanged {
    /// Whose membership of what it is: of two of the same the later holds.
    #[must_use]
    pub fn member(&self) -> String {
        let whose = self.person.as_ref().or(self.token.as_ref());
        format!("{}/{}", self.group_id, whose.map_or("", String::as_str))
    }
}
