// Package sinks says what a sink is: a place where the collector brings what it has accepted. The kinds of sinks live in
// packages below, one each. What they all need (reading the queue, trying again, counting) is done here, once, by a Feeder,
// so that a sink is little more than one method.
package sinks
