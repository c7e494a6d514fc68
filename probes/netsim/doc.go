// Package netsim emulates links: how late, how lossy, how fast and how interrupted a path is, and how all of that changes
// while a device drives through cells. One model, Link, has two backends. Network holds hosts in memory and lives in the
// virtual time of a testing/synctest bubble, where a delay of 10 ms each way is a round trip of exactly 20 ms. Relays
// forward real UDP and TCP traffic over the loopback interface in real time and need no privilege.
// Where a link's behaviour comes from is a Profile: a constant State, a seeded Drive, or a recorded one from LoadTrace.
package netsim
