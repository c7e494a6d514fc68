package budget

import (
	"fmt"
	"maps"

	"github.com/nrprobe/nrprobe/probes"
)

// contradiction says how a criterion cannot stand beside an earlier one, "" when it can: two limits for the same figure, or
// a higher quantile that is allowed less than a lower one.
func contradiction(c, earlier *Criterion) string {
	same := c.Metric == earlier.Metric && c.Direction == earlier.Direction && c.Target == earlier.Target && c.Kind == earlier.Kind &&
		c.Probe == earlier.Probe && c.OfReceived == earlier.OfReceived && maps.Equal(c.Tags, earlier.Tags)
	if !same || c.Limit != c.Limit || earlier.Limit != earlier.Limit {
		return ""
	}
	if c.Statistic == earlier.Statistic && c.Statistic.Form != Reliability && c.Statistic.Form != Availability {
		return fmt.Sprintf("contradicts the budget %q, which has another limit (%s) for the same figure: keep one", earlier.Name, earlier.format(earlier.Limit))
	}
	low, high := c, earlier
	if low.Statistic.Q > high.Statistic.Q {
		low, high = high, low
	}
	if low.Statistic.Form == Quantile && high.Statistic.Form == Quantile && high.Limit < low.Limit && c.Metric.Type == probes.Distribution {
		return fmt.Sprintf("contradicts the budget %q: %s is never below %s, so it cannot be held to less (%s and %s)", earlier.Name,
			high.Statistic.Text, low.Statistic.Text, high.format(high.Limit), low.format(low.Limit))
	}
	return ""
}
