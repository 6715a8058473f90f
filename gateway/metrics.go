package gateway

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	panics   prometheus.Counter
	pairs    prometheus.Counter
	spilled  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, sequence func() uint64) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "videosim_gateway_requests_total", Help: "Calls by route, method and status.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "videosim_gateway_request_seconds", Help: "How long calls took, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "videosim_gateway_in_flight_requests", Help: "Calls at work now.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "videosim_gateway_panics_total", Help: "Calls that ended in a panic: bugs.",
		}),
		pairs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "videosim_gateway_pairs_total", Help: "Pairs asked for by similarity and evaluations.",
		}),
		spilled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "videosim_gateway_spilled_bytes_total", Help: "Answers kept in a file because their clients send all before they read.",
		}),
	}
	reg.MustRegister(m.requests, m.seconds, m.inFlight, m.panics, m.pairs, m.spilled,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "videosim_gateway_indexed_sequence", Help: "The index has seen every event of VIDEOS up to this sequence.",
		}, func() float64 { return float64(sequence()) }))
	return m
}
