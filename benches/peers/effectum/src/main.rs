//! Drains jobs that do nothing through effectum, and says how fast that went, as a line of JSON.
//!
//!     effectum-peer FOLDER JOBS CONCURRENCY BYTES [wal]
//!
//! The jobs are in the file before the watch starts, each with a payload of so many bytes; it stops when
//! the last of them is complete in the file. One worker takes up to CONCURRENCY jobs at once, and
//! looks for more when half of them are done, so that it need not wait for the slowest of a batch.
//!
//! effectum sets `synchronous = NORMAL`, and a pragma `journal` that SQLite does not have where
//! `journal_mode` is meant. So a file that it makes has a rollback journal, and each of its
//! transactions waits for the disk, up to 50 operations of its workers in one. With `wal` the file is
//! put into WAL mode before effectum opens it, as its authors meant it: then no commit waits for the disk,
//! and a loss of power takes the last ones back.

use std::path::Path;
use std::time::{Duration, Instant};

use effectum::{Error, Job, JobRunner, Queue, RunningJob, Worker};

const KIND: &str = "nothing";

async fn nothing(job: RunningJob, (): ()) -> Result<(), Error> {
    std::hint::black_box(&job.payload);
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, jobs, concurrency, bytes, rest @ ..] = &arguments[..] else {
        eprintln!("effectum-peer FOLDER JOBS CONCURRENCY BYTES [wal]");
        std::process::exit(2);
    };
    let jobs: u64 = jobs.parse().expect("JOBS is a number");
    let concurrency: u16 = concurrency.parse().expect("CONCURRENCY is a number");
    let bytes: usize = bytes.parse().expect("BYTES is a number");
    let wal = matches!(rest, [word] if word == "wal");
    let file = Path::new(folder).join("effectum.db");
    for name in [
        "effectum.db",
        "effectum.db-wal",
        "effectum.db-shm",
        "effectum.db-journal",
    ] {
        let _ = std::fs::remove_file(file.with_file_name(name));
    }
    if wal {
        let connection = rusqlite::Connection::open(&file).expect("a new file");
        let mode: String = connection
            .query_row("PRAGMA journal_mode = wal", [], |row| row.get(0))
            .expect("a mode");
        assert_eq!(mode, "wal");
    }

    let queue = Queue::new(&file).await.expect("a queue");
    let payload = vec![b'x'; bytes];
    let waiting = (0..jobs)
        .map(|_| Job::builder(KIND).payload(payload.clone()).build())
        .collect();
    queue.add_jobs(waiting).await.expect("the jobs are added");
    queue.close(Duration::from_secs(60)).await.expect("it closes");
    drop(queue);

    let queue = Queue::new(&file).await.expect("the queue again");
    let runner = JobRunner::builder(KIND, nothing).build();
    let started = Instant::now();
    let worker = Worker::builder(&queue, ())
        .max_concurrency(concurrency)
        .min_concurrency((concurrency / 2).max(1))
        .jobs([runner])
        .build()
        .await
        .expect("a worker");
    while worker.counts().finished < jobs {
        tokio::time::sleep(Duration::from_micros(200)).await;
        assert!(started.elapsed() < Duration::from_secs(600), "it does not end");
    }
    let seconds = started.elapsed().as_secs_f64();
    worker.unregister(None).await.expect("the worker ends");
    queue.close(Duration::from_secs(60)).await.expect("it closes");

    let connection = rusqlite::Connection::open(&file).expect("the file");
    let done: u64 = connection
        .query_row("SELECT count(*) FROM jobs WHERE status = 'succeeded'", [], |row| {
            row.get(0)
        })
        .expect("a count");
    assert_eq!(done, jobs, "not every job is complete");
    let journal: String = connection
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .expect("a mode");
    println!(
        "{}",
        serde_json::json!({
            "peer": "effectum 0.7.0",
            "jobs": jobs,
            "concurrency": concurrency,
            "journal_mode": journal,
            "synchronous": "normal",
            "seconds": seconds,
            "jobs_per_second": jobs as f64 / seconds,
        })
    );
}
