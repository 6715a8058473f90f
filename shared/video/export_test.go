package video

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
