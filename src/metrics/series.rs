//! How a metric comes into the registry: with its name, and with all of its series.

use super::labels::Label;
use prometheus::core::{
    AtomicI64, AtomicU64, Collector, GenericCounter, GenericCounterVec, GenericGauge, GenericGaugeVec, Metric,
};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge, Opts, Registry};
use std::marker::PhantomData;

/// How long dialling and handshakes take, in seconds: from the same machine to what a time-out ends.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counters with a label.
pub(super) type Counters<L> = Labelled<GenericCounter<AtomicU64>, L>;

/// Gauges with a label.
pub(super) type Gauges<L> = Labelled<GenericGauge<AtomicI64>, L>;

/// Histograms with a label.
pub(super) type Histograms<L> = Labelled<Histogram, L>;

/// A metric with a series for each value of a label, which is found without looking it up.
pub(super) struct Labelled<M, L> {
    series: Vec<M>,
    label: PhantomData<L>,
}

impl<M: Metric, L: Label> Labelled<M, L> {
    fn new(series: impl Fn(&[&str]) -> M) -> Self {
        Labelled { series: L::VALUES.iter().map(|value| series(&[value])).collect(), label: PhantomData }
    }

    pub(super) fn of(&self, value: L) -> &M {
        &self.series[value.index()]
    }
}

/// Every name of ours begins alike.
pub(super) fn full_name(name: &str) -> String {
    format!("obfs_rs_{name}")
}

fn timing(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(full_name(name), help).buckets(SECONDS.to_vec())
}

/// Enters a metric in the registry. The names are ours, and each is there once.
pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> C {
    let metric = metric.expect("the name and the labels of a metric are fit for one");
    registry.register(Box::new(metric.clone())).expect("each metric has a name of its own");
    metric
}

pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(full_name(name), help))
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(full_name(name), help))
}

pub(super) fn counters<L: Label>(registry: &Registry, name: &str, help: &str) -> Counters<L> {
    let all = GenericCounterVec::new(Opts::new(full_name(name), help), &[L::NAME]);
    let all = register(registry, all);
    Labelled::new(|values| all.with_label_values(values))
}

pub(super) fn gauges<L: Label>(registry: &Registry, name: &str, help: &str) -> Gauges<L> {
    let all = register(registry, GenericGaugeVec::new(Opts::new(full_name(name), help), &[L::NAME]));
    Labelled::new(|values| all.with_label_values(values))
}

pub(super) fn histograms<L: Label>(registry: &Registry, name: &str, help: &str) -> Histograms<L> {
    let all = register(registry, HistogramVec::new(timing(name, help), &[L::NAME]));
    Labelled::new(|values| all.with_label_values(values))
}

pub(super) fn histogram(registry: &Registry, name: &str, help: &str) -> Histogram {
    register(registry, Histogram::with_opts(timing(name, help)))
}

/// Counters with two labels.
pub(super) struct Pairs<A, B> {
    series: Vec<Counters<B>>,
    label: PhantomData<A>,
}

impl<A: Label, B: Label> Pairs<A, B> {
    pub(super) fn of(&self, a: A, b: B) -> &IntCounter {
        self.series[a.index()].of(b)
    }
}

pub(super) fn pairs<A: Label, B: Label>(registry: &Registry, name: &str, help: &str) -> Pairs<A, B> {
    let all = GenericCounterVec::new(Opts::new(full_name(name), help), &[A::NAME, B::NAME]);
    let all = register(registry, all);
    let of_b = |a: &&str| Labelled::new(|values| all.with_label_values(&[a, values[0]]));
    Pairs { series: A::VALUES.iter().map(of_b).collect(), label: PhantomData }
}
