package monitor

import (
	"context"
	"slices"
)

// maxBatch is how many findings are told at once.
const maxBatch = 50

// Sink takes findings. One that fails gets the same again later: each finding
// comes at least once, with the same Key.
type Sink interface {
	Name() string
	Send(ctx context.Context, findings []Finding) error
}

// Deliver tells sinks what waits for them, and notes what they took. It returns
// the errors of sinks by name; the other error is one of the folder.
func (m *Monitor) Deliver(ctx context.Context, sinks []Sink) (failed map[string]error, err error) {
	failed = map[string]error{}
	known := map[string]bool{}
	for _, s := range sinks {
		known[s.Name()] = true
		for failed[s.Name()] == nil {
			batch := m.waiting(s.Name())
			if len(batch) == 0 {
				break
			}
			if err := s.Send(ctx, batch); err != nil {
				failed[s.Name()] = err
				break
			}
			m.took(s.Name(), batch)
			if err := m.dir.save(m.st); err != nil {
				return failed, err
			}
		}
	}
	// A sink that is not there any more keeps nothing waiting.
	before := len(m.st.Outbox)
	m.st.Outbox = slices.DeleteFunc(m.st.Outbox, func(o outgoing) bool {
		return !slices.ContainsFunc(o.To, func(name string) bool { return known[name] })
	})
	if len(m.st.Outbox) < before {
		err = m.dir.save(m.st)
	}
	return failed, err
}

// Waiting is how many findings wait to be told.
func (m *Monitor) Waiting() int { return len(m.st.Outbox) }

func (m *Monitor) waiting(sink string) []Finding {
	var out []Finding
	for _, o := range m.st.Outbox {
		if slices.Contains(o.To, sink) && len(out) < maxBatch {
			out = append(out, o.Finding)
		}
	}
	return out
}

// took notes that a sink has what was sent to it.
func (m *Monitor) took(sink string, batch []Finding) {
	has := map[string]bool{}
	for i := range batch {
		has[batch[i].Key()] = true
	}
	for i := range m.st.Outbox {
		o := &m.st.Outbox[i]
		if has[o.Key()] {
			o.To = slices.DeleteFunc(o.To, func(name string) bool { return name == sink })
		}
	}
	m.st.Outbox = slices.DeleteFunc(m.st.Outbox, func(o outgoing) bool { return len(o.To) == 0 })
}
