package release

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
)

// TokenUse is how a token was used since this was last written.
type TokenUse struct {
	Last time.Time
	From []netip.Prefix // IPv4 addresses and IPv6 networks of 64 bits, ascending
}

// Bounds of what is kept of the use of tokens. What is beyond them within a
// minute is not told.
const (
	maxTokenSources = 64      // of one token, and of a token in the store
	maxUsedTokens   = 100_000 // within a minute
)

// use collects what happens too often to be written at each time: the use of
// tokens and wrong passwords of known accounts. It is written once a minute.
type use struct {
	mu     sync.Mutex
	tokens map[string]*tokenUse
	failed map[string]*LoginFailure // by account
}

type tokenUse struct {
	last time.Time
	from map[netip.Prefix]struct{}
}

// LoginFailure sums up wrong passwords of one account.
type LoginFailure struct {
	Account     string
	Count       int64
	First, Last time.Time
}

func (u *use) token(id string, from netip.Prefix, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	t := u.tokens[id]
	if t == nil {
		if len(u.tokens) >= maxUsedTokens {
			return
		}
		if u.tokens == nil {
			u.tokens = map[string]*tokenUse{}
		}
		t = &tokenUse{}
		u.tokens[id] = t
	}
	t.last = now
	if _, known := t.from[from]; !known && from.IsValid() && len(t.from) < maxTokenSources {
		if t.from == nil {
			t.from = map[netip.Prefix]struct{}{}
		}
		t.from[from] = struct{}{}
	}
}

func (u *use) loginFailed(account string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failed == nil {
		u.failed = map[string]*LoginFailure{}
	}
	f := u.failed[account]
	if f == nil {
		f = &LoginFailure{Account: account, First: now}
		u.failed[account] = f
	}
	f.Count++
	f.Last = now
}

func (u *use) take() (tokens map[string]TokenUse, failed []*LoginFailure) {
	u.mu.Lock()
	used, accounts := u.tokens, u.failed
	u.tokens, u.failed = nil, nil
	u.mu.Unlock()
	tokens = make(map[string]TokenUse, len(used))
	for id, t := range used {
		tokens[id] = TokenUse{t.last, slices.SortedFunc(maps.Keys(t.from), netip.Prefix.Compare)}
	}
	for _, id := range slices.Sorted(maps.Keys(accounts)) {
		failed = append(failed, accounts[id])
	}
	return tokens, failed
}

// TokenUsed notes that a credential was used that a token stands behind.
func (s *Service) TokenUsed(id string, from netip.Prefix) { s.use.token(id, from, s.now()) }

// recordUse writes what was collected: once a minute.
func (s *Service) recordUse(ctx context.Context) error {
	tokens, failed := s.use.take()
	var err error
	if len(tokens) > 0 {
		err = s.store.TouchTokens(ctx, tokens, s.now())
	}
	var events []audit.Event
	for _, f := range failed {
		events = append(events, audit.Event{
			Time: f.Last, Name: audit.LoginFailed, Actor: audit.ActorOf(access.Anonymous()), Door: audit.DoorServer,
			Outcome: audit.Outcome{Result: audit.Denied, Rule: "login"},
			Detail:  map[string]string{"account": f.Account, audit.DetailCount: strconv.FormatInt(f.Count, 10), audit.DetailSince: f.First.UTC().Format(time.RFC3339)},
		})
	}
	if len(events) > 0 {
		err = errors.Join(err, s.store.Record(ctx, s.now(), events...))
	}
	return errors.Join(err, s.store.EndTokens(ctx, s.now()))
}
