package probes

import "time"

// Radio is what the modem said, read just before and just after a measurement. Either may be nil.
type Radio struct {
	Before *RadioSample `json:"before,omitempty"`
	After  *RadioSample `json:"after,omitempty"`
}

// RadioSample is one reading of the serving cell. What the modem did not say is absent (nil or ""), never a number.
type RadioSample struct {
	Time time.Time `json:"time"`
	// RAT is "NR-SA", "NR-NSA", "LTE" or another access technology in the modem's words.
	RAT string `json:"rat,omitempty"`
	// PLMN is MCC and MNC with leading zeros, as in "46000".
	PLMN string `json:"plmn,omitempty"`
	// Cell is the cell identity (NCI, 36 bit, or ECI, 28 bit) in hexadecimal. It is location data.
	Cell string `json:"cell,omitempty"`
	// PCI is the physical cell identity, 0–1007 in NR.
	PCI *int `json:"pci,omitempty"`
	// Band is "n78" or "B3".
	Band string `json:"band,omitempty"`
	// ARFCN is the channel number (NR-ARFCN or EARFCN).
	ARFCN *int `json:"arfcn,omitempty"`
	// RSRP in dBm, RSRQ and SINR in dB (TS 38.215).
	RSRP *float64 `json:"rsrp_dbm,omitempty"`
	RSRQ *float64 `json:"rsrq_db,omitempty"`
	SINR *float64 `json:"sinr_db,omitempty"`
	// Position, where the device knows it.
	Latitude  *float64 `json:"latitude_degrees,omitempty"`
	Longitude *float64 `json:"longitude_degrees,omitempty"`
	// Speed over ground in metres per second.
	Speed *float64 `json:"speed_metres_per_second,omitempty"`
}

// SameCell says whether both samples name the same serving cell.
func (s *RadioSample) SameCell(other *RadioSample) bool {
	samePCI := (s.PCI == nil) == (other.PCI == nil) && (s.PCI == nil || *s.PCI == *other.PCI)
	return s.RAT == other.RAT && s.Cell == other.Cell && samePCI
}
