// Package trust is how the two ends of nrprobe come to trust each other's TLS: the far end makes and keeps a self-signed
// certificate, and the near end verifies it by its pin, by an authority, or by remembering it on first use.
package trust
