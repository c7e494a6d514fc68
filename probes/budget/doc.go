// Package budget judges latency, loss and rate of a link against budgets: pass, fail or inconclusive, never a single
// number against a line. What it judges comes from a measurement made now, from files or from a store; what it finds goes
// out as a table, as JSON, JUnit XML, Markdown or annotations. The statistics are in package stats.
package budget
