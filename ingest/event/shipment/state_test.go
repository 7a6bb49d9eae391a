package shipment

import "testing"

func TestParseState(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status string
		want   State
	}{
		{"out_for_delivery", OutForDelivery},
		{"Out For Delivery", OutForDelivery},
		{" IN-TRANSIT ", InTransit},
		{"delivered", Delivered},
		{"unknown", Unknown},
		{"", Unknown},
		{"held at customs", Unknown},
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
	order := []State{Unknown, Pending, InTransit, OutForDelivery, AttemptFailed, Returned, Delivered}
	for i := 1; i < len(order); i++ {
		if order[i-1].Rank() >= order[i].Rank() {
			t.Errorf("%s does not rank below %s", order[i-1], order[i])
		}
	}
	if State("of another world").Rank() >= Unknown.Rank() {
		t.Error("a state outside the vocabulary ranks above unknown")
	}
}

func TestTerminalStates(t *testing.T) {
	t.Parallel()
	terminal := map[State]bool{Delivered: true, Returned: true, Cancelled: true, Expired: true}
	for _, s := range States {
		if s.Terminal() != terminal[s] {
			t.Errorf("%s.Terminal() = %v", s, s.Terminal())
		}
	}
}

func TestRefString(t *testing.T) {
	t.Parallel()
	if got := (Ref{Courier: "demo", ID: "7"}).String(); got != "demo:7" {
		t.Errorf("got %s", got)
	}
}
