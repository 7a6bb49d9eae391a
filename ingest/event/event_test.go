package event

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
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
	want := Identity{Courier: "demo", Key: "demo:evt:1"}
	if got, ok := ParseIdentity(want.String()); !ok || got != want {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
	if _, ok := ParseIdentity("demo"); ok {
		t.Error("an identity without a colon is accepted")
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

func TestClasses(t *testing.T) {
	t.Parallel()
	for code, want := range map[Code]Class{
		Forged: Permanent, Malformed: Permanent, DomainInvalid: Permanent, AttemptsExhausted: Permanent, InvalidPayload: Permanent,
		DependencyDown: Down, Timeout: Transient, Throttled: Transient, VersionConflict: Transient, Internal: Transient, "UNHEARD_OF": Transient,
	} {
		if got := code.Class(); got != want {
			t.Errorf("%s is of class %d, want %d", code, got, want)
		}
	}
}

func TestDeadLetterID(t *testing.T) {
	t.Parallel()
	e := testEnvelope()
	id := DeadLetterID(7, e)
	if !strings.HasPrefix(id, "7-") || id != DeadLetterID(7, testEnvelope()) {
		t.Errorf("the id %q is not the same each time", id)
	}
	e.ReceivedAt = e.ReceivedAt.Add(time.Second)
	if other := DeadLetterID(7, e); other == id {
		t.Errorf("another message at the same position has the same id %q", id)
	}
}
