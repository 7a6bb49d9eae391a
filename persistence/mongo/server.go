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
	// longer than a round trip may, so that calls stop waiting for it.
	waited chan struct{}

	mu      sync.Mutex
	problem error       // why the store is not ready, nil when it is
	hello   serverHello // what the server said of itself when the store got ready
}

// limits returns what one command to the server may hold.
func (s *server) limits() bulkLimits {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hello.limits()
}

// hinder sets what stands in the way, nil for nothing.
func (s *server) hinder(problem error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problem = problem
}

// explain replaces what stands in the way, if anything does.
func (s *server) explain(problem error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem != nil {
		s.problem = problem
	}
}

// ready waits for the first attempt to get ready, for a while, and returns what
// stands in the way.
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

// greet asks the server what it is and what it takes.
func (s *server) greet(ctx context.Context) error {
	var h serverHello
	err := s.retried(ctx, func(ctx context.Context) error {
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
		return s.retried(ctx, func(ctx context.Context) error { return s.db.Client().Ping(ctx, readpref.Primary()) })
	})
}

// The pauses between the tries of one round trip grow from firstRetry to lastRetry,
// after which there is none.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 100 * time.Millisecond
)

// retried makes a round trip that does no harm when it is made twice, within the time
// of one, and makes it again, twice at most, while the server can't be used: that a
// failover has closed a connection shows only when it is used. The driver does not
// retry by itself, see [Config.options].
func (s *server) retried(ctx context.Context, roundTrip func(context.Context) error) error {
	ctx, cancel := s.trip(ctx)
	defer cancel()
	for pause := firstRetry; ; pause *= 2 {
		err := roundTrip(ctx)
		if err == nil || !passing(err) || pause > lastRetry {
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

// trip bounds one round trip.
func (s *server) trip(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

func (s *server) replicated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hello.replicated()
}
