//! What a stream answers when all goes well.

use eventflow::proto::v1;
use tonic_types::StatusExt;

use super::{Answer, Pipe, head, keyed, offsets, on, to};
use crate::{
    client::{event, text},
    feed::everything,
    harness::backend::{Backend, on_both_stores},
    observe::Metrics,
};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

on_both_stores! {
    async fn each_request_is_answered_in_order_with_its_sequence(backend: Backend) {
        let (_server, admin) = on(backend, &["orders", "letters"]).await;
        let mut pipe = Pipe::open(&admin).await.unwrap();
        // The server reads no order from them, nor that they differ.
        let sequences = [7, -1, 0, 7, i64::MAX, i64::MIN, 1];
        for (n, sequence) in sequences.into_iter().enumerate() {
            let topic = if n % 2 == 0 { "orders" } else { "letters" };
            pipe.send(sequence, to(topic, (0..=n).map(|k| event(&format!("{n}.{k}"))).collect())).await;
        }
        pipe.close();
        let (answers, closing, end) = pipe.rest().await;
        assert!(end.is_ok() && closing.is_none(), "{end:?}");
        assert_eq!(answers.iter().map(|answer| answer.0).collect::<Vec<_>>(), sequences);
        let given: Vec<_> = answers.iter().map(offsets).collect();
        let wanted = [vec![1], vec![1, 2], (2..=4).collect(), (3..=6).collect(), (5..=9).collect(), (7..=12).collect(), (10..=16).collect()];
        assert_eq!(given, wanted);
        for published in answers.iter().flat_map(|answer| &answer.1.as_ref().unwrap().published) {
            assert!(!published.id.is_empty() && published.recorded_time.is_some() && !published.duplicate);
        }
        let texts: Vec<_> = everything(&admin, "letters").await.iter().map(|event| text(event).to_owned()).collect();
        assert_eq!(texts[..6], ["1.0", "1.1", "3.0", "3.1", "3.2", "3.3"]);
    }

    async fn a_thousand_pipelined_requests_need_few_appends_and_keep_their_order(backend: Backend) {
        const REQUESTS: i64 = 1000;
        let (server, admin) = on(backend, &["orders"]).await;
        let before = Metrics::of(&server).await.get("eventflow_appends_total");
        let mut pipe = Pipe::open(&admin).await.unwrap();
        for sequence in 1..=REQUESTS {
            pipe.send(sequence, to("orders", vec![event(&sequence.to_string())])).await;
        }
        pipe.close();
        let (answers, _, end) = pipe.rest().await;
        end.unwrap();
        let wanted: Vec<_> = (1..=REQUESTS).map(|n| (n, vec![n])).collect();
        assert_eq!(answers.iter().map(|answer| (answer.0, offsets(answer))).collect::<Vec<_>>(), wanted);
        let texts: Vec<_> = everything(&admin, "orders").await.iter().map(|event| text(event).to_owned()).collect();
        assert_eq!(texts, (1..=REQUESTS).map(|n| n.to_string()).collect::<Vec<_>>());
        let appends = Metrics::of(&server).await.get("eventflow_appends_total") - before;
        println!("{backend:?}: {REQUESTS} pipelined requests, {appends} appends");
        assert!(appends * 5 < REQUESTS as u64, "{appends} appends for {REQUESTS} requests");
    }

    async fn answers_come_while_the_client_still_sends(backend: Backend) {
        let (_server, admin) = on(backend, &["orders"]).await;
        let mut pipe = Pipe::open(&admin).await.unwrap();
        for sequence in 1..=20 {
            pipe.send(sequence, to("orders", vec![event("x")])).await;
            assert_eq!(offsets(&pipe.answer().await), [sequence]);
        }
        pipe.close();
        assert!(pipe.next().await.unwrap().is_none());
    }

    async fn a_stream_without_requests_ends_well(backend: Backend) {
        let (_server, admin) = on(backend, &[]).await;
        let mut pipe = Pipe::open(&admin).await.unwrap();
        pipe.close();
        assert!(pipe.next().await.unwrap().is_none());
    }

    async fn ids_are_recorded_once_also_within_a_stream(backend: Backend) {
        let (_server, admin) = on(backend, &["orders"]).await;
        admin.publish("orders", vec![keyed("old")]).await.unwrap();
        let mut pipe = Pipe::open(&admin).await.unwrap();
        for (n, ids) in [&["a"][..], &["a"], &["old"], &["b", "a", "c"], &["b"]].iter().enumerate() {
            pipe.send(n as i64, to("orders", ids.iter().map(|id| keyed(id)).collect())).await;
        }
        let places = |answer: Answer| -> Vec<(i64, bool)> {
            answer.1.unwrap().published.iter().map(|published| (published.offset, published.duplicate)).collect()
        };
        let given: Vec<_> = pipe.answers(5).await.into_iter().map(places).collect();
        let wanted = [vec![(2, false)], vec![(2, true)], vec![(1, true)], vec![(3, false), (2, true), (4, false)], vec![(3, true)]];
        assert_eq!(given, wanted);
    }

    async fn the_calls_correlation_id_and_trace_apply_to_its_events(backend: Backend) {
        let (_server, admin) = on(backend, &["orders"]).await;
        let headers = [("x-correlation-id", "together"), ("traceparent", TRACE), ("x-request-id", "my-call")];
        let mut pipe = Pipe::open_with(&admin, &headers).await.unwrap();
        pipe.send(1, to("orders", vec![event("x")])).await;
        pipe.send(2, to("orders", vec![v1::NewEvent { correlation_id: "own".into(), ..event("y") }])).await;
        pipe.send(3, to("nowhere", vec![event("x")])).await;
        let answers = pipe.answers(3).await;
        assert_eq!(offsets(&answers[1]), [2]);
        // Each refusal names the call.
        let refusal = answers[2].1.as_ref().unwrap_err();
        assert_eq!(refusal.get_details_request_info().unwrap().request_id, "my-call");
        let events = everything(&admin, "orders").await;
        let ids: Vec<_> = events.iter().map(|event| event.correlation_id.as_str()).collect();
        assert_eq!(ids, ["together", "own"]);
        assert!(events.iter().all(|event| event.attributes["traceparent"] == TRACE && event.producer == "users/admin"));
    }

    async fn a_check_records_nothing_and_does_not_hold_up_the_others(backend: Backend) {
        let (_server, admin) = on(backend, &["orders"]).await;
        let mut pipe = Pipe::open(&admin).await.unwrap();
        let check = |id: &str| v1::PublishRequest { validate_only: true, ..to("orders", vec![keyed(id)]) };
        pipe.send(1, to("orders", vec![keyed("a")])).await;
        assert_eq!(offsets(&pipe.answer().await), [1]);
        pipe.send(2, check("a")).await;
        pipe.send(3, check("b")).await;
        pipe.send(4, to("orders", vec![keyed("c")])).await;
        let answers = pipe.answers(3).await;
        assert_eq!((offsets(&answers[0]), offsets(&answers[1]), offsets(&answers[2])), (vec![1], vec![0], vec![2]));
        assert!(answers[0].1.as_ref().unwrap().published[0].duplicate);
        assert_eq!(head(&admin, "orders").await, 2);
    }

    async fn streams_of_many_clients_share_appends_and_are_counted(backend: Backend) {
        const STREAMS: usize = 8;
        const REQUESTS: i64 = 200;
        let (server, admin) = on(backend, &["orders"]).await;
        let mut pipes = Vec::new();
        for _ in 0..STREAMS {
            pipes.push(Pipe::open(&admin).await.unwrap());
        }
        assert_eq!(Metrics::of(&server).await.get("eventflow_subscriptions"), STREAMS as u64);
        let publish = |(n, mut pipe): (usize, Pipe)| async move {
            for sequence in 0..REQUESTS {
                pipe.send(sequence, to("orders", vec![event(&format!("{n}-{sequence}"))])).await;
            }
            pipe.close();
            pipe.rest().await.2.unwrap();
        };
        futures::future::join_all(pipes.into_iter().enumerate().map(publish)).await;
        let events = everything(&admin, "orders").await;
        for n in 0..STREAMS {
            let prefix = format!("{n}-");
            let own: Vec<i64> = events.iter().filter_map(|event| text(event).strip_prefix(&prefix)?.parse().ok()).collect();
            assert_eq!(own, (0..REQUESTS).collect::<Vec<_>>(), "stream {n} lost its order");
        }
        let none = async || (Metrics::of(&server).await.get("eventflow_subscriptions") == 0).then_some(());
        crate::harness::patience::eventually("no stream to be counted any more", none).await;
    }
}
