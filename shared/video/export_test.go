package video

import "math"

// SynthOracle returns, for the tests, what a corpus was drawn from: the
// likeness of each judged pair before it was put on the judges' scale, by ids.
func SynthOracle(cfg SynthConfig) (map[[2]string]float64, error) {
	w, err := newWorld(cfg)
	if err != nil {
		return nil, err
	}
	p := newPlan(cfg, w)
	out := make(map[[2]string]float64, len(p.pairs))
	for _, pair := range p.pairs {
		out[[2]string{p.ids[pair.a], p.ids[pair.b]}] = pair.alike
	}
	return out, nil
}

// SynthLatents returns each video's latent as a vector whose cosines are
// the likeness that SynthOracle reports.
func SynthLatents(cfg SynthConfig) (map[string][]float64, error) {
	w, err := newWorld(cfg)
	if err != nil {
		return nil, err
	}
	p := newPlan(cfg, w)
	out := make(map[string][]float64, len(p.ids))
	for i, m := range p.latents {
		v := make([]float64, len(w.categories)+len(w.topics))
		for j, t := range m.topics {
			v[w.topics[t].category] += m.weights[j] * math.Sqrt(categoryShare)
			v[len(w.categories)+t] += m.weights[j] * math.Sqrt(1-categoryShare)
		}
		out[p.ids[i]] = v
	}
	return out, nil
}
