package tlog_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// cosigners are witnesses of a test, by the name that the policy gives them.
func cosigners(t testing.TB, names ...string) map[string]*tlog.Cosigner {
	out := make(map[string]*tlog.Cosigner)
	for i, name := range names {
		out[name] = newCosigner(t, "witness.example.com/"+strings.ToLower(name), byte(10+i))
	}
	return out
}

func vkeyOf(t testing.TB, name string, seed byte) string {
	t.Helper()
	_, vkey, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)), name)
	if err != nil {
		t.Fatal(err)
	}
	return vkey
}

// twoLevels is the example of the specification.
func twoLevels(t testing.TB, w map[string]*tlog.Cosigner) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# who is believed\nlog %s https://charts.example.com/log\n\n", vkeyOf(t, origin, 1))
	for _, name := range []string{"X1", "X2", "X3", "Y1", "Y2", "Y3"} {
		fmt.Fprintf(&b, "\twitness  %s %s https://%s.example.com/ \n", name, w[name].VerifierKey(), name)
	}
	b.WriteString("group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n")
	return b.String()
}

func TestWitnessPolicyCheck(t *testing.T) {
	w := cosigners(t, "X1", "X2", "X3", "Y1", "Y2", "Y3")
	policy, err := tlog.ParseWitnessPolicy([]byte(twoLevels(t, w)))
	if err != nil {
		t.Fatal(err)
	}
	if len(policy.Logs) != 1 || policy.Logs[0].URL != "https://charts.example.com/log" || policy.Logs[0].Key.Name() != origin ||
		len(policy.Witnesses) != 6 || policy.Witnesses[3].URL != "https://Y1.example.com/" || policy.Witnesses[3].VerifierKey != w["Y1"].VerifierKey() {
		t.Errorf("%+v", policy)
	}
	log := newKeys(t, origin, 1)
	for _, test := range []struct {
		by   string
		want bool
	}{
		{"", false}, {"X1 X2", false}, {"X1 Y1", false}, {"Y1 Y2 Y3", false}, {"X1 X2 X3", false},
		{"X1 X2 Y1", true}, {"X1 X3 Y3", true}, {"Y2 X3 X2", true}, {"X1 X2 X3 Y1 Y2 Y3", true},
	} {
		cp := checkpoint(t, sign(t, 5, tlog.LeafHash([]byte("root")), log.signer))
		names := strings.Fields(test.by)
		for i, name := range names {
			line, err := w[name].Cosign(cp, noon.Add(time.Duration(i)*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			cp = cp.WithCosignatures(tlog.Cosignature{Line: line})
		}
		got, err := policy.Check(cp.Note, origin, policy.LogKeys())
		if err != nil {
			t.Errorf("%s: %v", test.by, err)
			continue
		}
		if got.Quorum != test.want || got.Checkpoint.Size != 5 {
			t.Errorf("%s: quorum %v, size %d", test.by, got.Quorum, got.Checkpoint.Size)
		}
		if len(got.Cosigned) != len(names) || len(got.Cosigned)+len(got.Missing) != 6 {
			t.Errorf("%s: cosigned %v, missing %v", test.by, got.Cosigned, got.Missing)
		}
		for _, c := range got.Cosigned {
			i := slices.Index(names, c.Name)
			if i < 0 || !c.Time.Equal(noon.Add(time.Duration(i)*time.Second)) || c.Key != w[c.Name].Name() {
				t.Errorf("%s: %+v", test.by, c)
			}
		}
	}
}

func TestWitnessPolicyCheckDisproves(t *testing.T) {
	w := cosigners(t, "A", "B")
	log := newKeys(t, origin, 1)
	text := "log " + vkeyOf(t, origin, 1) + "\nwitness A " + w["A"].VerifierKey() + "\nwitness B " + w["B"].VerifierKey() + "\ngroup g any A B\nquorum g"
	policy, err := tlog.ParseWitnessPolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	root := tlog.LeafHash([]byte("root"))
	cp := checkpoint(t, sign(t, 5, root, log.signer))
	other := checkpoint(t, sign(t, 6, root, log.signer))
	cosigned := func(cp tlog.Checkpoint, c *tlog.Cosigner, of tlog.Checkpoint) tlog.Checkpoint {
		line, err := c.Cosign(of, noon)
		if err != nil {
			t.Fatal(err)
		}
		return cp.WithCosignatures(tlog.Cosignature{Line: line})
	}
	// The witness's line in front, and no log's.
	bare := []byte(origin + "\n5\n" + root.String() + "\n\n")
	bare = cosigned(tlog.Checkpoint{Note: bare}, w["A"], cp).Note
	// A witness that took the log's name for its key.
	namesake := newCosigner(t, origin, 20)
	namesakes, err := tlog.ParseWitnessPolicy([]byte("log " + vkeyOf(t, origin, 1) + "\nwitness A " + namesake.VerifierKey() + "\nquorum A\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		text   []byte
		rule   string
		policy tlog.WitnessPolicy
	}{
		"a false line spoils the note": {cosigned(cosigned(cp, w["B"], cp), w["A"], other).Note, "cosignature-false", policy},
		"no log signed":                {bare, "checkpoint-unsigned", policy},
		"a witness is no log":          {cosigned(tlog.Checkpoint{Note: []byte(origin + "\n5\n" + root.String() + "\n\n")}, namesake, cp).Note, "checkpoint-unsigned", namesakes},
		"another log":                  {sign(t, 5, root, newKeys(t, origin, 9).signer), "checkpoint-unsigned", policy},
	} {
		got, err := test.policy.Check(test.text, origin, test.policy.LogKeys())
		if p, ok := problem.As(err); !ok || p.Kind != problem.Disproven || p.Rule != test.rule {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	// Lines of witnesses that nobody knows are nothing.
	got, err := policy.Check(cosigned(cp, newCosigner(t, "stranger.example.com", 30), cp).Note, "", policy.LogKeys())
	if err != nil || got.Quorum || len(got.Missing) != 2 {
		t.Errorf("a stranger: %+v, %v", got, err)
	}
	// A caller that knows its log may bring its key, and a policy without logs knows none.
	nameless, err := tlog.ParseWitnessPolicy([]byte("quorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := nameless.Check(cp.Note, origin, note.VerifierList(log.verifier)); err != nil || !got.Quorum {
		t.Errorf("quorum none: %+v, %v", got, err)
	}
	if _, err := nameless.Check(cp.Note, origin, nameless.LogKeys()); problem.KindOf(err) != problem.Disproven {
		t.Errorf("no logs: %v", err)
	}
}

func TestParseWitnessPolicyRefuses(t *testing.T) {
	w := cosigners(t, "A", "B", "C")
	log := "log " + vkeyOf(t, origin, 1) + "\n"
	a, b := "witness A "+w["A"].VerifierKey()+"\n", "witness B "+w["B"].VerifierKey()+"\n"
	renamed := newCosigner(t, "elsewhere.example.com", 10) // the key of A under another name
	var many strings.Builder
	for i := range tlog.MaxPolicyParts + 1 {
		fmt.Fprintf(&many, "witness w%d %s\n", i, newCosigner(t, "w.example.com", byte(i+1)).VerifierKey())
	}
	mldsa := "w+00000000+Bg" + strings.Repeat("A", 1750)
	for name, test := range map[string]struct {
		text, where string
		kind        problem.Kind
	}{
		"empty":                {"", "no quorum line", problem.Invalid},
		"no quorum":            {log + a, "no quorum line", problem.Invalid},
		"two quorums":          {"quorum none\nquorum none\n", "line 2", problem.Invalid},
		"quorum of two":        {a + b + "quorum A B\n", "line 3", problem.Invalid},
		"quorum of nobody":     {a + "quorum\n", "line 2", problem.Invalid},
		"unknown quorum":       {a + "quorum B\n", "line 2", problem.Invalid},
		"quorum before":        {"quorum A\n" + a, "line 1", problem.Invalid},
		"group before":         {"group g any A\n" + a + "quorum g\n", "line 1", problem.Invalid},
		"group of itself":      {a + "group g any g\nquorum g\n", "line 2", problem.Invalid},
		"none as member":       {a + "group g any A none\nquorum g\n", "line 2", problem.Invalid},
		"none as name":         {strings.Replace(a, " A ", " none ", 1) + "quorum none\n", "line 1", problem.Invalid},
		"none as group":        {a + "group none any A\nquorum none\n", "line 2", problem.Invalid},
		"member twice":         {a + "group g any A A\nquorum g\n", "line 2", problem.Invalid},
		"member of two":        {a + b + "group g any A\ngroup h all A B\nquorum h\n", "line 4", problem.Invalid},
		"no member":            {a + "group g any\nquorum g\n", "line 2", problem.Invalid},
		"threshold 0":          {a + "group g 0 A\nquorum g\n", "line 2", problem.Invalid},
		"threshold over":       {a + b + "group g 3 A B\nquorum g\n", "line 3", problem.Invalid},
		"threshold +1":         {a + "group g +1 A\nquorum g\n", "line 2", problem.Invalid},
		"threshold 01":         {a + "group g 01 A\nquorum g\n", "line 2", problem.Invalid},
		"threshold some":       {a + "group g some A\nquorum g\n", "line 2", problem.Invalid},
		"same name":            {a + strings.Replace(b, " B ", " A ", 1) + "quorum A\n", "line 2", problem.Invalid},
		"same name as a group": {a + b + "group A any B\nquorum A\n", "line 3", problem.Invalid},
		"same key":             {a + "witness B " + renamed.VerifierKey() + "\nquorum A\n", "line 2", problem.Invalid},
		"same log":             {log + log + "quorum none\n", "line 2", problem.Invalid},
		"same log key":         {log + "log " + vkeyOf(t, "other.example.com/log", 1) + "\nquorum none\n", "line 2", problem.Invalid},
		"log without key":      {"log\nquorum none\n", "line 1", problem.Invalid},
		"log with more":        {"log " + vkeyOf(t, origin, 1) + " https://a https://b\nquorum none\n", "line 1", problem.Invalid},
		"witness without key":  {"witness A\nquorum none\n", "line 1", problem.Invalid},
		"witness with more":    {strings.TrimSpace(a) + " https://a b\nquorum A\n", "line 1", problem.Invalid},
		"a log's key":          {"witness A " + vkeyOf(t, origin, 1) + "\nquorum A\n", "line 1", problem.Invalid},
		"a witness's key":      {"log " + w["A"].VerifierKey() + "\nquorum none\n", "line 1", problem.Invalid},
		"ML-DSA-44":            {"\nwitness A " + mldsa + "\nquorum A\n", "line 2", problem.Unsupported},
		"carriage returns":     {strings.ReplaceAll(log+a+"quorum A\n", "\n", "\r\n"), "line 1", problem.Invalid},
		"NUL":                  {"# \x00\nquorum none\n", "line 1", problem.Invalid},
		"DEL":                  {"# \x7f\nquorum none\n", "line 1", problem.Invalid},
		"other word":           {"Quorum none\n", "line 1", problem.Invalid},
		"cut":                  {"quoru", "line 1", problem.Invalid},
		"no-break space":       {"quorum\u00a0none\n", "line 1", problem.Invalid},
		"long name":            {strings.Replace(a, " A ", " "+strings.Repeat("a", 256)+" ", 1) + "quorum none\n", "line 1", problem.Invalid},
		"long URL":             {strings.TrimSpace(a) + " https://" + strings.Repeat("a", 2048) + "\nquorum A\n", "line 1", problem.Invalid},
		"many witnesses":       {many.String() + "quorum none\n", fmt.Sprintf("line %d", tlog.MaxPolicyParts+1), problem.TooLarge},
		"large":                {strings.Repeat("#\n", tlog.MaxPolicyBytes/2) + "quorum none\n", "", problem.TooLarge},
	} {
		_, err := tlog.ParseWitnessPolicy([]byte(test.text))
		p, ok := problem.As(err)
		if !ok || p.Kind != test.kind || !strings.Contains(p.Message, test.where) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWitnessPolicyOctets: names are octets, the last newline may be missing.
func TestWitnessPolicyOctets(t *testing.T) {
	w := cosigners(t, "A", "B")
	text := "witness K " + w["A"].VerifierKey() + "\n \t \nwitness \u212a " + w["B"].VerifierKey() + "\t\xff\n #\xc3\ngroup \xff all K \u212a\nquorum \xff"
	policy, err := tlog.ParseWitnessPolicy([]byte(text))
	if err != nil || len(policy.Witnesses) != 2 || policy.Witnesses[1].URL != "\xff" || policy.Quorum != "\xff" {
		t.Errorf("%+v, %v", policy, err)
	}
}

func TestParseLogList(t *testing.T) {
	w := cosigners(t, "X1", "X2", "X3", "Y1", "Y2", "Y3")
	one, two := vkeyOf(t, origin, 1), vkeyOf(t, "other.example.com/log", 2)
	for name, test := range map[string]struct {
		text string
		logs int
	}{
		"empty": {"# nothing yet\n", 0}, "keys": {one + "\n\n" + two + " https://other.example.com/log", 2}, "lines": {"log " + one + "\nlog " + two + "\n", 2},
		"a policy": {twoLevels(t, w), 1}, "two keys of a log": {one + "\n" + vkeyOf(t, origin, 3), 2},
	} {
		if logs, err := tlog.ParseLogList([]byte(test.text)); err != nil || len(logs) != test.logs {
			t.Errorf("%s: %+v, %v", name, logs, err)
		}
	}
	for _, text := range []string{one + "\n" + one, w["X1"].VerifierKey(), "nothing", one + " https://a b", "group g any x"} {
		if logs, err := tlog.ParseLogList([]byte(text)); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%q: %+v, %v", text, logs, err)
		}
	}
}

func FuzzParseWitnessPolicy(f *testing.F) {
	w := cosigners(f, "X1", "X2", "X3", "Y1", "Y2", "Y3")
	f.Add([]byte(twoLevels(f, w)))
	f.Add([]byte("quorum none\n"))
	f.Add([]byte("witness A " + w["X1"].VerifierKey() + "\ngroup g 1 A\ngroup h all g\nquorum h"))
	cp := sign(f, 5, tlog.LeafHash([]byte("root")), newKeys(f, origin, 1).signer)
	f.Fuzz(func(t *testing.T, text []byte) {
		policy, err := tlog.ParseWitnessPolicy(text)
		if err != nil {
			if _, ok := problem.As(err); !ok {
				t.Errorf("not a problem: %v", err)
			}
			return
		}
		// Nobody cosigned: only a policy that asks for nobody is content.
		got, err := policy.Check(cp, "", note.VerifierList(newKeys(t, origin, 1).verifier))
		if err != nil || got.Quorum != (policy.Quorum == "none") || len(got.Missing) != len(policy.Witnesses) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	})
}
