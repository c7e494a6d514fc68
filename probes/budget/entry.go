package budget

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nrprobe/nrprobe/probes"
)

// criteria makes of an entry what is to be judged; problem reports what is wrong with it at a key.
func (e *Entry) criteria(problem func(key, text string)) []Criterion {
	if e.Profile != "" {
		return e.fromProfile(problem)
	}
	if e.Transport != 0 || e.OneWay {
		problem("profile", "is required beside transport and one_way, which say how to apply one")
	}
	c := e.base()
	ok := true
	refuse := func(key, text string) {
		ok = false
		problem(key, text)
	}
	e.metric(&c, refuse)
	e.statistic(&c, refuse)
	if !ok {
		return nil
	}
	c.LargerIsBetter = largerIsBetter(c.Metric)
	e.limits(&c, refuse)
	e.tolerances(&c, refuse)
	if !ok {
		return nil
	}
	if c.Name == "" {
		c.Name = c.Asks()
	}
	return []Criterion{c}
}

func (e *Entry) base() Criterion {
	return Criterion{
		Name: e.Name, Limit: noLimit(), Confidence: e.Confidence, OfReceived: e.Of == "received", Survival: e.Survival,
		Target: e.Target, Tags: e.Tags, Probe: -1,
	}
}

func (e *Entry) metric(c *Criterion, problem func(key, text string)) {
	if e.Metric == "" {
		problem("metric", "is required: a word of the vocabulary, such as rtt or loss")
		return
	}
	var words []string
	for _, m := range probes.Vocabulary() {
		for _, d := range probes.Directions() {
			if d != probes.Both && !m.Directed {
				continue
			}
			words = append(words, m.HistName(d))
			if e.Metric == m.HistName(d) {
				c.Metric, c.Direction = m, d
			}
		}
	}
	if c.Metric == nil {
		problem("metric", fmt.Sprintf("unknown metric %q%s: one of %s", e.Metric, didYouMean(e.Metric, words), strings.Join(words, ", ")))
		return
	}
	for _, d := range []probes.Direction{probes.Up, probes.Down} {
		switch {
		case e.Direction != d.String() || c.Direction == d:
		case c.Direction != probes.Both:
			problem("direction", fmt.Sprintf("%q contradicts the metric %q: keep one", e.Direction, e.Metric))
		case !c.Metric.Directed && c.Metric != probes.LossRatio:
			problem("direction", fmt.Sprintf("%q has no direction", e.Metric))
		default:
			c.Direction = d
		}
	}
}

func (e *Entry) statistic(c *Criterion, problem func(key, text string)) {
	if e.Statistic == "" {
		problem("statistic", "is required: "+strings.Join(statisticWords(), ", ")+", or another quantile")
		return
	}
	s, err := ParseStatistic(e.Statistic)
	if err != nil {
		problem("statistic", err.Error())
		return
	}
	c.Statistic = s
	if c.Metric == nil {
		return
	}
	isDelay := c.Metric.Type == probes.Distribution && c.Metric.Unit == probes.Seconds
	switch s.Form {
	case Share:
		if !isShare(c.Metric) {
			problem("statistic", fmt.Sprintf("a ratio is of loss, packets_lost, packets_late, packets_duplicated or packets_reordered, not of %s", c.Metric.Stem))
		}
	case Reliability, Availability:
		if !isDelay {
			problem("statistic", fmt.Sprintf("%s is of a delay, such as rtt or owd_up, not of %s", s.Text, c.Metric.Stem))
		}
	case Quantile, Mean, Extreme:
		if c.Metric == probes.LossRatio && c.Direction != probes.Both {
			problem("statistic", "loss by direction is known as a ratio only")
		}
		if c.Metric.Type == probes.Counter {
			problem("statistic", fmt.Sprintf("%s is a counter: the statistic of packet counters is ratio", c.Metric.Stem))
		}
		if s.Text == "min" && !largerIsBetter(c.Metric) || s.Text == "max" && largerIsBetter(c.Metric) {
			problem("statistic", fmt.Sprintf("the %s of %s is its best value, which no budget can hold it to", s.Text, c.Metric.Stem))
		}
	}
	if (s.Form == Availability) != (e.Survival > 0) {
		problem("survival", "goes with the statistic availability, and only with that")
	}
}

// isShare says whether a ratio of the metric's count over packets can be taken.
func isShare(m *probes.Metric) bool {
	return slices.Contains([]*probes.Metric{probes.LossRatio, probes.PacketsLost, probes.PacketsLate, probes.PacketsDuplicated, probes.PacketsReordered}, m)
}

// largerIsBetter says which way a metric is good.
func largerIsBetter(m *probes.Metric) bool {
	return slices.Contains([]*probes.Metric{probes.Goodput, probes.Transferred, probes.Responsiveness, probes.RSRP, probes.RSRQ, probes.SINR, probes.PacketsReceived}, m)
}

func (e *Entry) limits(c *Criterion, problem func(key, text string)) {
	quantity := func(key, text string) {
		v, err := parseQuantity(c.Metric.Unit, text)
		if err != nil {
			problem(key, err.Error())
			return
		}
		c.Limit = v
	}
	if c.Statistic.Form == Reliability || c.Statistic.Form == Availability {
		if e.Bound == "" || e.AtLeast == "" {
			problem("bound", c.Statistic.Text+" needs both: bound, the latest that a packet may arrive, and at_least, the share like 99.9%")
			return
		}
		quantity("bound", e.Bound)
		share, err := parseShare(e.AtLeast)
		if err == nil && (share <= 0 || share >= 1) {
			err = fmt.Errorf("%s can never be shown by samples: want a share between 0 and 1, like 99.9%%", e.AtLeast)
		}
		if err != nil {
			problem("at_least", err.Error())
		}
		c.AtLeast = share
		return
	}
	switch {
	case e.Bound != "" && e.AtLeast != "":
		problem("at_least", "contradicts bound: keep the one that is meant")
	case e.Bound != "" && c.LargerIsBetter:
		problem("bound", fmt.Sprintf("more of %s is better: write at_least", c.Metric.Stem))
	case e.AtLeast != "" && !c.LargerIsBetter:
		problem("at_least", fmt.Sprintf("less of %s is better: write bound", c.Metric.Stem))
	case e.Bound != "":
		quantity("bound", e.Bound)
	case e.AtLeast != "":
		quantity("at_least", e.AtLeast)
	}
	if c.Statistic.Form == Share && (c.Limit <= 0 || c.Limit >= 1) {
		problem("bound", fmt.Sprintf("%s can never be shown by samples: want a share between 0 and 1, like 0.1%%", e.Bound))
	}
}

func (e *Entry) tolerances(c *Criterion, problem func(key, text string)) {
	c.Ratio = DefaultRatio
	switch {
	case c.Shared():
		c.Floor = DefaultShareFloor
	case c.Metric.Unit == probes.Seconds:
		c.Floor = DefaultFloor
	}
	if e.Ratio != "" {
		v, err := parseShare(e.Ratio)
		if err != nil {
			problem("ratio", err.Error())
		}
		c.Ratio = v
	}
	if e.Floor != "" {
		u := c.Metric.Unit
		if c.Shared() {
			u = probes.Ratio
		}
		v, err := parseQuantity(u, e.Floor)
		if err != nil {
			problem("floor", err.Error())
		}
		c.Floor = v
	}
}
