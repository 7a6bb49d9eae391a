package event

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestValidCourier(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "0", "demo", "dhl-express", "dhl_ecommerce", "4px", strings.Repeat("x", 63)} {
		if !ValidCourier(name) {
			t.Errorf("%q is refused", name)
		}
	}
	for _, name := range []string{"", "-a", "_a", "A", "a.b", "a:b", "a b", "a/b", "a>", "a*", "é", "a\n", strings.Repeat("x", 64)} {
		if ValidCourier(name) {
			t.Errorf("%q is accepted", name)
		}
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	if got := (Identity{Courier: "demo", Key: "demo:evt:1"}).String(); got != "demo:demo:evt:1" {
		t.Errorf("got %s", got)
	}
}

func TestCodeOf(t *testing.T) {
	t.Parallel()
	cause := errors.New("disk full")
	err := fmt.Errorf("commit: %w", &Error{Code: DependencyDown, Op: "sqlite commit", Err: cause})
	if got := CodeOf(err); got != DependencyDown {
		t.Errorf("got %s", got)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if CodeOf(nil) != "" || CodeOf(cause) != Internal {
		t.Errorf("got %q for nil and %q for a foreign error", CodeOf(nil), CodeOf(cause))
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  *Error
		want string
	}{
		{Errorf(Timeout, "redis get", "after %d ms", 5), "redis get: TIMEOUT: after 5 ms"},
		{&Error{Code: Forged, Op: "worker"}, "worker: FORGED"},
		{&Error{Code: Forged, Err: errors.New("no stamp")}, "FORGED: no stamp"},
	} {
		if got := tc.err.Error(); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	var f Faults
	f.Check(true, "a", "is fine")
	if f.Err() != nil {
		t.Errorf("an error without a fault: %v", f.Err())
	}
	f.Check(false, "a.b", "is %d", 7)
	f.Check(false, "$", "is not JSON")
	err := fmt.Errorf("settings: %w", f.Err())
	if got := err.Error(); got != "settings: a.b: is 7; $: is not JSON" {
		t.Errorf("got %s", got)
	}
	if all, ok := errors.AsType[Faults](err); !ok || len(all) != 2 || all[0] != (Fault{Path: "a.b", Message: "is 7"}) {
		t.Errorf("got %+v", all)
	}
}
