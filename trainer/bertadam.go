package trainer

import (
	"strings"

	"videosim/shared/torch"
)

// Constants of BertAdam (pytorch-pretrained-bert, optimization.py) that the
// published system leaves at their defaults.
const (
	adamBeta1   = 0.9
	adamBeta2   = 0.999
	adamEps     = 1e-6
	weightDecay = 0.01
	maxGradNorm = 1.0 // of every parameter on its own
)

// Schedule is the course of the learning rate over one stage.
type Schedule struct {
	Peak   float64 // learning rate at the end of the warm-up
	Warmup float64 // share of Total over which the rate rises from 0
	Total  int     // steps after which the rate is 0
}

// Rate returns the learning rate of step k, counted from 0: it rises linearly
// to Peak over the first Warmup·Total steps, then falls linearly to 0 at Total
// and stays there. The first step therefore moves nothing.
func (c Schedule) Rate(k int) float64 {
	x := float64(k) / float64(c.Total)
	if x < c.Warmup {
		return c.Peak * x / c.Warmup
	}
	return c.Peak * max((x-1)/(c.Warmup-1), 0)
}

// Decays reports whether BertAdam decays the parameter: a rule on names, by
// which the norms of the frame encoder and the class token do decay.
func Decays(name string) bool {
	return !strings.Contains(name, "bias") && !strings.Contains(name, "LayerNorm.weight")
}

// BertAdam is Adam without bias correction, with decoupled weight decay, and
// with the gradient of every parameter clipped to norm 1 on its own. A
// parameter that has no gradient in a step is left alone, decay included, and
// its own step count stands still.
type BertAdam struct {
	schedule Schedule
	scope    *torch.Scope // owns the moments
	slots    []*adamSlot
}

// adamSlot is the state of one parameter. Moments are made at its first
// gradient.
type adamSlot struct {
	name       string
	param      torch.Tensor
	decays     bool
	steps      int          // steps taken so far
	mean       torch.Tensor // first moment
	meanSquare torch.Tensor // second moment
}

// NewBertAdam makes an optimiser whose moments live in scope, which must live
// as long as the optimiser is used.
func NewBertAdam(scope *torch.Scope, schedule Schedule) *BertAdam {
	return &BertAdam{schedule: schedule, scope: scope}
}

// Add puts a parameter under the optimiser's care.
func (o *BertAdam) Add(name string, param torch.Tensor, decays bool) {
	o.slots = append(o.slots, &adamSlot{name: name, param: param, decays: decays})
}

// Step updates every parameter that has a gradient and clears the gradients.
func (o *BertAdam) Step(s *torch.Scope) {
	torch.NoGrad(func() {
		for _, slot := range o.slots {
			if grad := torch.Grad(s, slot.param); grad.Defined() {
				o.update(s, slot, grad)
				slot.param.ClearGrad()
			}
		}
	})
}

// LearningRate is the rate that the next step will use for a parameter that
// had a gradient in all steps so far.
func (o *BertAdam) LearningRate() float64 {
	steps := 0
	for _, slot := range o.slots {
		steps = max(steps, slot.steps)
	}
	return o.schedule.Rate(steps)
}

func (o *BertAdam) update(s *torch.Scope, slot *adamSlot, grad torch.Tensor) {
	if !slot.mean.Defined() {
		slot.mean, slot.meanSquare = o.zerosLike(slot.param), o.zerosLike(slot.param)
	}
	a := torch.AdamSettings{
		Beta1: adamBeta1, Beta2: adamBeta2, Eps: adamEps, MaxNorm: maxGradNorm, Rate: o.schedule.Rate(slot.steps),
	}
	if slot.decays {
		a.Decay = weightDecay
	}
	slot.steps++
	if slot.param.Device() == torch.CPU {
		slot.param.AdamStep(grad, slot.mean, slot.meanSquare, a)
	} else {
		slot.stepByParts(s, grad, a)
	}
}

// stepByParts is torch.AdamStep made of operations that every device has. On
// the CPU it moves three times the memory.
func (slot *adamSlot) stepByParts(s *torch.Scope, grad torch.Tensor, a torch.AdamSettings) {
	clip(s, grad)
	slot.mean.Scale(a.Beta1)
	slot.mean.AddScaled(grad, 1-a.Beta1)
	slot.meanSquare.Scale(a.Beta2)
	slot.meanSquare.AddProduct(grad, grad, 1-a.Beta2)
	if a.Rate == 0 {
		return
	}
	if a.Decay != 0 {
		slot.param.AddScaled(slot.param, -a.Rate*a.Decay) // of the old value
	}
	root := torch.AddScalar(s, torch.Sqrt(s, slot.meanSquare), a.Eps)
	slot.param.AddQuotient(slot.mean, root, -a.Rate)
}

func (o *BertAdam) zerosLike(t torch.Tensor) torch.Tensor {
	return torch.Zeros(o.scope, torch.Float32, t.Device(), t.Shape()...)
}

// clip scales grad in place so that its norm is at most about maxGradNorm. The
// factor stays a tensor: reading it back would wait for the device once a
// parameter.
func clip(s *torch.Scope, grad torch.Tensor) {
	norm := torch.AddScalar(s, torch.NormAll(s, grad), 1e-6)
	factor := torch.Clamp(s, torch.MulScalar(s, torch.Pow(s, norm, -1), maxGradNorm), 0, 1)
	grad.MulBy(factor)
}
