// Package lease keeps load tests apart, so that a fleet never measures itself. Before a test loads a link to a reflector it
// asks that reflector for a lease, waits in the reflector's queue until it has one, and gives it back at its end.
//
// A reflector grants one lease at a time to each site, and no more at once than it has capacity for. Sites are served in the
// order in which they asked. A site is what agents say it is, in their label "site"; those that say nothing are told apart by
// their addresses. Since names are free, no address (of IPv6, no /64) holds more than half of all the leases that there may be,
// unless one site may hold more, and no more than Config.QueuePerAddress load tests of it wait.
//
// # Protocol
//
// One connection to the reflector's plain TCP port is one lease. It begins with the preamble farend.PreambleLease. What
// follows is frames: two bytes of length, big endian, then a JSON object with exactly one key that names the message.
//
//	client                              reflector
//	preamble, {"ask":...}         --->
//	                              <---  {"queued":{"position":3,...}} each time that the position changes, or
//	                              <---  {"granted":{"id":...,...}}, at once or in the end, or {"refused":...}
//	{"alive":{}} each ttl/5       --->  waiting or not
//	                              <---  {"alive":{}} to each
//	                              <---  {"ended":...} when the reflector takes the lease back
//
// The lease lasts as long as the connection. The client closes it when the test is over. The reflector takes the lease back
// when nothing has come for ttl, or when the time that was asked for is over; the client takes it for lost when nothing has
// come for ttl, and ends the test. Clients only dial out, so that they may sit behind NAT.
//
// A session of load that names a lease lives no longer than that (Book.Bind). A reflector that grants no leases closes the
// connection unanswered; tests against it go on without.
package lease
