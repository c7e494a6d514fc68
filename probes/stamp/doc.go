// Package stamp measures delay, loss and interruption packet by packet with the Simple Two-way Active Measurement
// Protocol (RFC 8762) and its extensions (RFC 8972), and answers such packets at the far end.
//
//	sender                                   reflector
//	  T1 ──────────── test packet ─────────────▶ T2
//	  T4 ◀─────────── reflected packet ───────── T3        RTT = (T4−T1) − (T3−T2)
//
// The files fall into three groups. The codec (packet.go, tlv.go, timestamp.go, auth.go) knows bytes and nothing else.
// The reflector (reflector.go, table.go, serve*.go) answers. The sender (kind.go, measurement.go, schedule.go,
// link*.go) sends on time and takes replies down in a ledger (ledger.go), from which the clerk (clerk.go and what it calls)
// draws figures once the fate of every packet is settled. A pattern (pattern.go) sends the frames of an
// application in place of equal packets, and frames.go judges them by their deadlines. The search for the path MTU (mtu*.go)
// comes before all that, on a socket of its own.
package stamp
