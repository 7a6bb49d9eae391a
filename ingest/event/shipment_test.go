package event

import "testing"

func TestParseState(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status string
		want   State
	}{
		{"out_for_delivery", StateOutForDelivery},
		{"Out For Delivery", StateOutForDelivery},
		{" IN-TRANSIT ", StateInTransit},
		{"delivered", StateDelivered},
		{"unknown", StateUnknown},
		{"", StateUnknown},
		{"held at customs", StateUnknown},
	} {
		if got := ParseState(tc.status); got != tc.want {
			t.Errorf("ParseState(%q) = %s, want %s", tc.status, got, tc.want)
		}
	}
	for _, s := range States {
		if ParseState(string(s)) != s {
			t.Errorf("the state %s is not read as itself", s)
		}
	}
}

func TestRankOrdersStates(t *testing.T) {
	t.Parallel()
	order := []State{StateUnknown, StatePending, StateInTransit, StateOutForDelivery, StateAttemptFailed, StateReturned, StateDelivered}
	for i := 1; i < len(order); i++ {
		if order[i-1].Rank() >= order[i].Rank() {
			t.Errorf("%s does not rank below %s", order[i-1], order[i])
		}
	}
	if State("of another world").Rank() >= StateUnknown.Rank() {
		t.Error("a state outside the vocabulary ranks above unknown")
	}
}

func TestTerminalStates(t *testing.T) {
	t.Parallel()
	terminal := map[State]bool{StateDelivered: true, StateReturned: true, StateCancelled: true, StateExpired: true}
	for _, s := range States {
		if s.Terminal() != terminal[s] {
			t.Errorf("%s.Terminal() = %v", s, s.Terminal())
		}
	}
}
