//! Targets by name: where they lead changes, fails, and comes back.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use serde_json::json;
use tokio::net::UdpSocket;

use super::back::Back;
use super::{World, until};

/// What a name server says of every name.
#[derive(Clone, Debug)]
enum Says {
    Addresses(Vec<Ipv4Addr>),
    NoSuchName,
    Nothing,
}

struct Dns {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<usize>>,
}

impl Dns {
    async fn start(says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (says, asked) = (Arc::new(Mutex::new(says)), Arc::new(Mutex::new(0)));
        let (state, count) = (Arc::clone(&says), Arc::clone(&asked));
        tokio::spawn(async move {
            let mut bytes = vec![0; 4_096];
            while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
                *count.lock().unwrap() += 1;
                let said = state.lock().unwrap().clone();
                if let Some(answer) = answer(&bytes[..length], &said) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        Self { address, says, asked }
    }

    fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }

    async fn world(&self) -> World {
        World::with(&[("CEDARGATE_GATEWAY__DNS_SERVERS", &self.address.to_string())]).await
    }
}

fn answer(question: &[u8], says: &Says) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).unwrap();
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.metadata.recursion_available = true;
    let query = question.queries[0].clone();
    match says {
        Says::Nothing => return None,
        Says::NoSuchName => answer.metadata.response_code = ResponseCode::NXDomain,
        Says::Addresses(addresses) if query.query_type() == RecordType::A => {
            for address in addresses {
                // Shorter than what is remembered at least.
                answer.add_answer(Record::from_rdata(query.name().clone(), 0, RData::A(A(*address))));
            }
        }
        Says::Addresses(_) => {}
    }
    answer.add_query(query);
    Some(answer.to_vec().unwrap())
}

/// Two back ends on one port of two addresses.
async fn two() -> (Back, Back) {
    let first = Back::start("first").await;
    let second = Back::at("second", (Ipv4Addr::new(127, 0, 0, 2), first.address.port()).into()).await;
    (first, second)
}

const FIRST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::test(flavor = "multi_thread")]
async fn all_addresses_of_a_name_are_used_as_they_change() {
    let (first, second) = two().await;
    let dns = Dns::start(Says::Addresses(vec![FIRST])).await;
    let world = dns.world().await;
    let name = format!("fleet.test:{}", first.address.port());
    let id = world.fleet_of(json!([{ "address": name }]), json!({})).await;
    let who = async || {
        let mut who = BTreeSet::new();
        for _ in 0..6 {
            who.insert(world.get("/fleet/x").await.expect(200).text);
        }
        who.into_iter().collect::<Vec<_>>()
    };
    // The first request waits for the name, and is answered.
    assert_eq!(who().await, ["first"]);
    dns.says(Says::Addresses(vec![SECOND, FIRST]));
    until(async || who().await == ["first", "second"]).await;
    let told = world.health(id).await;
    assert!(
        told.len() == 2 && told.iter().all(|target| target["target"] == name && target["is_well"] == true),
        "{told:?}"
    );
    dns.says(Says::Addresses(vec![SECOND]));
    until(async || who().await == ["second"]).await;
    let count = first.count();
    // What is known stays while nobody can say more, or says that there is nothing.
    for says in [Says::Nothing, Says::NoSuchName] {
        let asked = dns.asked();
        dns.says(says);
        until(async || dns.asked() > asked + 2).await;
        assert_eq!(who().await, ["second"]);
    }
    assert_eq!(first.count(), count);
    dns.says(Says::Addresses(vec![FIRST]));
    until(async || who().await == ["first"]).await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_missing_is_asked_for_in_the_background() {
    let (first, _second) = two().await;
    let dns = Dns::start(Says::NoSuchName).await;
    let world = dns.world().await;
    let id = world.fleet_of(json!([{ "address": format!("fleet.test:{}", first.address.port()) }]), json!({})).await;
    world.get("/fleet/x").await.expect(502);
    let told = world.health(id).await;
    assert_eq!(
        (&told[0]["address"], &told[0]["is_well"], &told[0]["out"]["by"]),
        (&json!(null), &json!(false), &json!("name"))
    );
    // Requests do not ask.
    let started = std::time::Instant::now();
    let asked = dns.asked();
    for _ in 0..40 {
        world.get("/fleet/x").await.expect(502);
    }
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap();
    assert!(dns.asked() - asked <= (seconds + 1) * 4, "{} in {seconds} s", dns.asked() - asked);
    assert_eq!(world.sum("cedargate_upstream_errors_total", &[("kind", "dns")]).await, 41);
    dns.says(Says::Addresses(vec![FIRST]));
    until(async || world.get("/fleet/x").await.status == 200).await;
}
