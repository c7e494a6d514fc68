package probes

// InterfaceNetwork is a Network that can open sockets on another interface than its own as well. Kinds that measure a
// change of interface ask for it by a type assertion. Its method is safe for concurrent use.
type InterfaceNetwork interface {
	Network
	// On returns a network that is bound to another interface ("wwan1"), or to one of its addresses and to the interface
	// that has it ("192.0.2.7"). Everything else is as the user chose it. It opens nothing; an interface that is not there
	// may show only when a socket is opened.
	On(where string) (Network, error)
}
