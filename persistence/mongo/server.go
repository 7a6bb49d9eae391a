package mongo

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
)

// server is the database as it can be reached: every round trip goes through it.
type server struct {
	db      *mongo.Database
	timeout time.Duration // of one round trip
	metrics *persistence.StoreMetrics
	// waited is closed when the first attempt to get ready has ended or has taken
	// longer than a round trip may: calls wait no longer for it.
	waited chan struct{}

	mu      sync.Mutex
	problem error       // why the store is not ready, nil when it is
	hello   serverHello // the server's answer when the store got ready
}

// limits returns what one command to the server may hold.
func (s *server) limits() bulkLimits {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hello.limits()
}

// setProblem sets why the store is not ready, nil when it is.
func (s *server) setProblem(problem error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problem = problem
}

// replaceProblem sets why the store is not ready, unless it is.
func (s *server) replaceProblem(problem error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem != nil {
		s.problem = problem
	}
}

// ready waits for the first attempt to get ready, for a while, and returns why the store
// is not ready.
func (s *server) ready(ctx context.Context) error {
	select {
	case <-s.waited:
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem != nil {
		return &event.Error{Code: event.DependencyDown, Op: "mongodb", Err: s.problem}
	}
	return nil
}

// identify asks the server what it is and what it accepts.
func (s *server) identify(ctx context.Context) error {
	var h serverHello
	err := s.retry(ctx, func(ctx context.Context) error {
		err := s.db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&h)
		if serverFailed(err, noSuchCommand) {
			err = s.db.RunCommand(ctx, bson.D{{Key: "isMaster", Value: 1}}).Decode(&h)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hello = h
	return nil
}

// ping returns nil while the server can be used.
func (s *server) ping(ctx context.Context) error {
	return s.do(ctx, "ping", func(ctx context.Context) error {
		return s.retry(ctx, func(ctx context.Context) error { return s.db.Client().Ping(ctx, readpref.Primary()) })
	})
}

// The pauses between the tries of one round trip grow from firstRetry to lastRetry,
// after which there is none.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 100 * time.Millisecond
)

// retry makes a round trip that is safe to repeat, within the time of one, and repeats
// it, twice at most, while the server can't be used: a connection that a failover has
// closed fails only when it is used. The driver does not retry, see [Config.options].
func (s *server) retry(ctx context.Context, roundTrip func(context.Context) error) error {
	ctx, cancel := s.withTimeout(ctx)
	defer cancel()
	for pause := firstRetry; ; pause *= 2 {
		err := roundTrip(ctx)
		if err == nil || !transient(err) || pause > lastRetry {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// do runs an operation once the store is ready.
func (s *server) do(ctx context.Context, op string, fn func(context.Context) error) error {
	began := time.Now()
	err := s.ready(ctx)
	if err == nil {
		err = fn(ctx)
	}
	err = mapError(ctx, op, err)
	s.metrics.Observe(op, began, err)
	return err
}

// withTimeout bounds one round trip.
func (s *server) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

func (s *server) replicated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hello.replicated()
}
