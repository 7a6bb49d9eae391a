//go:build !race

package event

import "testing"

// The race detector makes pools forget at random, so these tests run without it.

func TestDecodeDoesNotAllocate(t *testing.T) {
	body := withPayload(`{"shipmentId":"shp_456","orderId":"ord_789","status":"delivered","more":[{"x":"\u00e9"},1,null]}`)
	faults := make([]Fault, 0, 4)
	var e Event
	if n := testing.AllocsPerRun(1000, func() { faults = e.Decode(body, faults[:0]) }); n != 0 || len(faults) != 0 {
		t.Errorf("Decode allocates %v times and finds %v, want neither", n, faults)
	}
}

func TestAppendStampDoesNotAllocate(t *testing.T) {
	s, e, buf := testStamper(t, keyOne), testEnvelope(), make([]byte, 0, 64)
	if n := testing.AllocsPerRun(1000, func() { s.AppendStamp(buf, e) }); n != 0 {
		t.Errorf("AppendStamp allocates %v times, want 0", n)
	}
}
