//! Random operations of people who may administer but not escalate: whatever they do, nobody comes to hold what none of
//! them held, and another node that follows knows what they did.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Caller, PASSWORD, id};
use crate::support::{
    app::{App, Call},
    follower::Follower,
};

/// How many operations on each database; `CEDARGATE_OPERATIONS` asks for more.
const NORMALLY: usize = 1_000;
/// After so many, what everybody holds is looked at, and the actors are given back what they lost.
const LEG: usize = 25;
const ESCALATE: &str = "Permission 'role:escalate' required for this action";

/// A sequence that a seed determines (xorshift64*), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % bound
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// An actor, the role it acts by, and what that grants.
struct Actor<'a> {
    caller: Caller<'a>,
    user: i64,
    role: i64,
    granted: Vec<i64>,
}

struct World<'a> {
    admin: Caller<'a>,
    actors: Vec<Actor<'a>>,
    roles: Vec<i64>,
    permissions: Vec<i64>,
    users: Vec<i64>,
    dice: Dice,
}

async fn list(caller: &Caller<'_>, path: &str) -> Vec<Value> {
    caller.get(path).await.expect(200).json().as_array().unwrap().clone()
}

fn name(value: &Value) -> String {
    value["name"].as_str().unwrap().to_owned()
}

impl<'a> World<'a> {
    async fn new(app: &'a App, seed: u64) -> Self {
        let admin = Caller::superadmin(app).await;
        let mut ids: BTreeMap<String, i64> = BTreeMap::new();
        for number in 0..6 {
            admin.made("/permissions/", json!({ "name": format!("toy{number}:read"), "description": "d" })).await;
        }
        for permission in list(&admin, "/permissions/?limit=1000").await {
            ids.insert(name(&permission), id(&permission));
        }
        let of = |names: &[&str]| -> Vec<i64> {
            let wanted = |held: &str| names.iter().any(|name| held == *name || held.starts_with(&format!("{name}:")));
            ids.iter().filter(|(held, _)| wanted(held)).map(|(_, id)| *id).collect()
        };
        let mut actors = Vec::new();
        for (who, names) in [
            (
                "chief",
                &["user", "role:create", "role:read", "role:update", "role:delete", "permission", "toy1", "toy2"][..],
            ),
            ("clerk", &["user:read", "user:update", "role:read", "role:update", "toy0"]),
            ("idler", &["toy3"]),
        ] {
            let granted = of(names);
            let role = id(&admin.made("/roles/", json!({ "name": who, "permission_ids": granted })).await);
            let user = admin.user(who, &[role]).await;
            let caller = Caller { app, token: app.token_with(who, PASSWORD).await };
            actors.push(Actor { caller, user, role, granted });
        }
        let treasure = json!({ "name": "treasure", "permission_ids": of(&["upstream", "system", "toy5"]) });
        let treasure = id(&admin.made("/roles/", treasure).await);
        // Holds what no actor holds, and does nothing.
        admin.user("owner", &[treasure]).await;
        let (roles, permissions, users) = Default::default();
        Self { admin, actors, roles, permissions, users, dice: Dice(seed | 1) }
    }

    /// The names of the permissions that each user but the superuser holds, found without the engine.
    async fn held(&self) -> BTreeMap<i64, BTreeSet<String>> {
        let mut by_role = BTreeMap::new();
        for role in list(&self.admin, "/roles/").await {
            let path = format!("/roles/{}/effective-permissions", id(&role));
            let names: BTreeSet<String> = list(&self.admin, &path).await.iter().map(name).collect();
            by_role.insert(id(&role), names);
        }
        let users = list(&self.admin, "/users/?limit=1000").await;
        let ordinary = users.iter().filter(|user| user["username"] != "superadmin");
        let names = |user: &Value| {
            let roles = user["roles"].as_array().unwrap().iter();
            roles.filter_map(|role| by_role.get(&id(role))).flatten().cloned().collect()
        };
        ordinary.map(|user| (id(user), names(user))).collect()
    }

    async fn recover(&self) {
        for actor in &self.actors {
            // Grants first: whoever lost its role gets it back as it was.
            let path = format!("/roles/{}", actor.role);
            if self.admin.get(&path).await.status == 404 {
                self.admin.call("POST", &format!("{path}/restore")).await.expect(200);
            }
            let body = json!({ "is_active": true, "permission_ids": actor.granted });
            self.admin.put(&path, body).await.expect(200);
            self.admin.put(&format!("/users/{}", actor.user), json!({ "role_ids": [actor.role] })).await.expect(200);
        }
    }

    /// Looks at what there is, deleted rows included.
    async fn survey(&mut self) {
        let ids = async |path| list(&self.admin, path).await.iter().map(id).collect();
        self.roles = ids("/roles/?include_deleted=true").await;
        self.permissions = ids("/permissions/?limit=1000&include_deleted=true").await;
        self.users = ids("/users/?limit=1000").await;
    }

    fn operation(&mut self) -> Call {
        let dice = &mut self.dice;
        let (role, other_role, user) = (dice.of(&self.roles), dice.of(&self.roles), dice.of(&self.users));
        let (permission, other, number) = (dice.of(&self.permissions), dice.of(&self.permissions), dice.below(8));
        let on = dice.below(2) == 0;
        // The chief may most, and so does most.
        let caller = &self.actors[[0, 0, 0, 1, 1, 2][dice.below(6)]].caller;
        match dice.below(22) {
            0 | 1 => caller.call("POST", &format!("/roles/{role}/permissions/{permission}")),
            2 => caller.delete(&format!("/roles/{role}/permissions/{permission}")),
            3 | 4 => caller.call("POST", &format!("/users/{user}/roles/{role}")),
            5 => caller.delete(&format!("/users/{user}/roles/{role}")),
            6 => caller.put(&format!("/users/{user}"), json!({ "role_ids": [role, other_role] })),
            7 => caller.post("/roles/", json!({ "name": format!("made{number}"), "permission_ids": [permission, other] })),
            8 => caller.put(&format!("/roles/{role}"), json!({ "permission_ids": [permission, other] })),
            9 => caller.put(&format!("/roles/{role}"), json!({ "is_active": on, "name": format!("named{number}") })),
            10 => caller.call("PATCH", &format!("/roles/{role}/toggle-status")),
            11 => caller.call("POST", &format!("/roles/{role}/parents/{other_role}")),
            12 => caller.delete(&format!("/roles/{role}/parents/{other_role}")),
            13 => {
                let name = ["upstream:delete", "toy5:read", "toy1:write", "toy2:read:own"][number % 4];
                caller.put(&format!("/permissions/{permission}"), json!({ "name": name }))
            }
            14 => caller.post("/permissions/", json!({ "name": format!("fresh{number}:read"), "description": "d" })),
            15 => caller.call("PATCH", &format!("/permissions/{permission}/toggle-status")),
            16 if on => caller.delete(&format!("/roles/{role}")),
            16 => caller.call("POST", &format!("/roles/{role}/restore")),
            17 if on => caller.delete(&format!("/permissions/{permission}")),
            17 => caller.call("POST", &format!("/permissions/{permission}/restore")),
            18 => caller.post(
                "/users/bulk-roles",
                json!({ "user_ids": [user], "role_ids": [role, other_role], "action": if on { "add" } else { "remove" } }),
            ),
            19 => caller.post(&format!("/roles/{role}/permissions/bulk"), json!([permission, other])),
            20 if on => caller.post("/roles/from-template/SuperAdmin", json!({ "name": format!("shaped{number}") })),
            20 => caller.post("/roles/create-minimal", json!({ "name": format!("small{number}") })),
            _ => caller.post(
                "/users/",
                json!({
                    "username": format!("user{number}"), "email": format!("user{number}@example.com"), "password": PASSWORD,
                    "role_ids": [role],
                }),
            ),
        }
    }
}

on_both!(nobody_ever_holds_what_nobody_who_acts_has_held, |backend| async move {
    let wanted = std::env::var("CEDARGATE_OPERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(NORMALLY);
    let seed = u64::from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
    let app = App::start(backend).await;
    let mut world = World::new(&app, seed).await;
    let follower = Follower::of(&app.database).await;
    let first = world.held().await;
    let acting: Vec<i64> = world.actors.iter().map(|actor| actor.user).collect();
    // The default role is anybody's to give, so what it holds is allowed too.
    let default = list(&world.admin, "/roles/3/effective-permissions").await;
    let mut allowed: BTreeSet<String> = default.iter().map(name).collect();
    allowed.extend(acting.iter().flat_map(|actor| first[actor].iter().cloned()));
    let (mut done, mut escalations) = (0, 0);
    for number in 1..=wanted {
        if number % LEG == 1 {
            world.survey().await;
        }
        let answer = world.operation().await;
        assert!(answer.status < 500, "seed {seed}: {}", answer.text);
        done += usize::from(answer.status == 200);
        escalations += usize::from(answer.status == 403 && answer.text.contains(ESCALATE));
        if number % LEG == 0 {
            for (user, held) in world.held().await {
                let own = first.get(&user);
                let had = |name: &str| allowed.contains(name) || own.is_some_and(|own| own.contains(name));
                let fine = |name: &&String| had(name) || name.strip_suffix(":own").is_some_and(had);
                let beyond: Vec<&String> = held.iter().filter(|name| !fine(name)).collect();
                assert!(beyond.is_empty(), "seed {seed}, operation {number}: user {user} holds {beyond:?}");
            }
            follower.agrees().await;
            world.recover().await;
        }
    }
    assert!(done * 20 > wanted && escalations * 50 > wanted, "{done} done, {escalations} refused: no force");
});
