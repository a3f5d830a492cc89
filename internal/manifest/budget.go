package manifest

import (
	"fmt"
	"reflect"

	"helm.sh/helm/v4/pkg/chart/common"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Bounds of single values that templates make. The sums are in Limits.
const (
	maxText      = 4 << 20 // bytes of one text
	maxList      = 200_000 // elements of one list
	maxNesting   = 200     // of one value; one that holds itself is over it
	maxCallDepth = 200     // templates that include one another
	maxRandom    = 1 << 16 // characters of one random text
	maxVerbs     = 1000    // of one format of printf
)

// budget is what the templates of one chart may still do in one run. The
// functions that are woven into them spend it; the first that cannot ends the
// run with an error that stays in over.
type budget struct {
	limits   Limits
	work     int64 // units spent, about 100 ns each
	made     int64 // bytes made
	depth    int   // of templates that run
	run      int   // 0 or 1: random values differ between the two
	random   bool  // a random value was asked for
	pointers bool  // a value with pointers in it was handed to a function: its text may hold addresses
	sequence uint64
	lenient  bool // required and fail do not end the run
	over     *problem.Error
}

// spend charges work and bytes.
func (b *budget) spend(work, made int64) error {
	b.work += work
	b.made += made
	switch {
	case b.over != nil:
		return b.over
	case work < 0 || made < 0 || b.work > b.limits.Work:
		return b.refuse("the templates take more than %d steps", b.limits.Work)
	case b.made > b.limits.Made:
		return b.refuse("the templates make more than %d MiB of text", b.limits.Made>>20)
	}
	return nil
}

// exceeded is the error of the limit that was met, or nil.
func (b *budget) exceeded() error {
	if b.over == nil {
		return nil
	}
	return b.over
}

func (b *budget) refuse(format string, args ...any) error {
	if b.over == nil {
		b.over = problem.New(problem.TooLarge, "render-limit", format, args...)
	}
	return b.over
}

// enter begins a template: bytes of text stand in it, and nodes.
func (b *budget) enter(bytes, nodes int64) (string, error) {
	if b.depth++; b.depth > maxCallDepth {
		return "", b.refuse("templates include one another more than %d deep", maxCallDepth)
	}
	return "", b.spend(12+4*nodes, bytes)
}

// leave ends it.
func (b *budget) leave() string {
	b.depth--
	return ""
}

// step begins one round of a loop.
func (b *budget) step(bytes, nodes int64) (string, error) { return "", b.spend(12+4*nodes, bytes) }

// keep charges for a value that a function made, not for what it holds.
func (b *budget) keep(v reflect.Value) (reflect.Value, error) {
	x := v
	for x.IsValid() && x.Kind() == reflect.Interface {
		x = x.Elem()
	}
	if !x.IsValid() {
		return v, nil
	}
	switch x.Kind() {
	case reflect.String:
		return v, b.text(x.Len())
	case reflect.Slice, reflect.Array:
		n := x.Len()
		if x.Type().Elem().Kind() == reflect.Uint8 {
			return v, b.text(n)
		}
		if n > maxList {
			return v, b.refuse("the templates make a list of more than %d elements", maxList)
		}
		return v, b.spend(int64(n/4), 16*int64(n))
	case reflect.Map:
		return v, b.spend(int64(x.Len()), 64*int64(x.Len()))
	}
	return v, nil
}

// text charges for a text of n bytes.
func (b *budget) text(n int) error {
	if n > maxText {
		return b.refuse("the templates make a text of more than %d MiB", maxText>>20)
	}
	return b.spend(int64(n/64), int64(n))
}

// deep charges for a value and all that it holds, before a function walks
// through it. What holds itself would be walked for ever, and is refused.
// The weight says how many times its size the function may make or take.
func (b *budget) deep(weight int, v reflect.Value) (reflect.Value, error) {
	if !v.IsValid() || !v.CanInterface() {
		return v, nil
	}
	work, made := b.work, b.made
	if err := b.walk(v.Interface(), 0); err != nil {
		return v, err
	}
	if made = b.made - made; made > maxText {
		return v, b.refuse("the templates hand a value of more than %d MiB to a function", maxText>>20)
	}
	return v, b.spend((b.work-work)*int64(weight-1), made*int64(weight-1))
}

func (b *budget) walk(x any, depth int) error {
	if depth > maxNesting {
		return b.refuse("a value in the templates holds itself, or is nested deeper than %d", maxNesting)
	}
	switch x := x.(type) {
	case nil, bool, int, int64, float64:
		return b.spend(1, 8)
	case string:
		return b.spend(1+int64(len(x)/64), int64(len(x)))
	case []byte:
		return b.spend(1+int64(len(x)/64), int64(len(x)))
	case map[string]any:
		return b.walkMap(x, depth)
	case common.Values:
		return b.walkMap(x, depth)
	case []any:
		if err := b.spend(1, 16); err != nil {
			return err
		}
		for _, e := range x {
			if err := b.walk(e, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return b.walkOther(reflect.ValueOf(x), depth)
}

func (b *budget) walkMap(m map[string]any, depth int) error {
	for k, e := range m {
		if err := b.spend(1, 16+int64(len(k))); err != nil {
			return err
		}
		if err := b.walk(e, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// walkOther goes through types that Helm's functions and objects have.
func (b *budget) walkOther(v reflect.Value, depth int) error {
	if err := b.spend(1, 64); err != nil {
		return err
	}
	next := func(e reflect.Value) error {
		if !e.CanInterface() {
			return nil
		}
		return b.walk(e.Interface(), depth+1)
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			b.pointers = b.pointers || depth > 0
			return next(v.Elem())
		}
	case reflect.String:
		return b.spend(0, int64(v.Len()))
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := next(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for i := v.MapRange(); i.Next(); {
			if err := b.spend(1, 16+int64(len(fmt.Sprint(i.Key())))); err != nil {
				return err
			}
			if err := next(i.Value()); err != nil {
				return err
			}
		}
	}
	return nil
}
