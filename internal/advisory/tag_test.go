package advisory

import (
	"strings"
	"testing"
)

func TestReadTag(t *testing.T) {
	for _, tt := range []struct{ tag, version, cut string }{
		// What the images of airflow-helm have, which SemVer would take for
		// pre-releases: 19 advisories that are fixed would stay open.
		{"2.8.4-python3.9", "2.8.4", "python3.9"},
		{"1.10.12-python3.6", "1.10.12", "python3.6"},
		{"6.2.14-debian-12-r17", "6.2.14", "debian-12-r17"},
		{"11.7.0-debian-10-r9", "11.7.0", "debian-10-r9"},
		{"1.22.1-patch.0", "1.22.1", "patch.0"},
		{"1.18.0-patch.1", "1.18.0", "patch.1"},

		{"2.8.4", "2.8.4", ""},
		{"v1.9.4", "1.9.4", ""},
		{"V1.9.4", "1.9.4", ""},
		{"02.08.04", "2.8.4", ""},
		{"10.6.12.3", "10.6.12.3", ""},
		{"3.8.6-management-alpine", "3.8.6", "management-alpine"},
		{"1.25.3-alpine3.19", "1.25.3", "alpine3.19"},
		{"3.9.18-slim-bookworm", "3.9.18", "slim-bookworm"},
		{"9.0.85-jdk17-temurin-jammy", "9.0.85", "jdk17-temurin-jammy"},
		{"6.4.2-php8.2-apache", "6.4.2", "php8.2-apache"},
		{"27.1.3-fpm-alpine", "27.1.3", "fpm-alpine"},
		{"1.15.2-ent.hsm", "1.15.2", "ent.hsm"},
		{"1.15.2-ent", "1.15.2", "ent"},
		{"16.7.0-ce.0", "16.7.0", "ce.0"},
		{"1.16.3-debian-1.0", "1.16.3", "debian-1.0"},
		{"8.0.35-oraclelinux8", "8.0.35", "oraclelinux8"},
		{"7.17.0-amd64", "7.17.0", "amd64"},
		{"7.17.0-linux-arm64v8", "7.17.0", "linux-arm64v8"},
		{"2.8.4-20240131", "2.8.4", "20240131"},
		{"2.8.4.post1", "2.8.4", ".post1"},
		{"1.0.0.Final", "1.0.0", ".Final"},
		{"1.2.3_build.5", "1.2.3", "build.5"},
		{"1.2.3_anything", "1.2.3", "anything"},

		// Pre-releases stay pre-releases.
		{"2.8.4rc1", "2.8.4-rc1", ""},
		{"2.8.4.dev0", "2.8.4-dev0", ""},
		{"2.0.0-rc.1", "2.0.0-rc.1", ""},
		{"2.0.0-rc-1", "2.0.0-rc.1", ""},
		{"v2.6.0-rc7", "2.6.0-rc7", ""},
		{"3.0.0-beta2", "3.0.0-beta2", ""},
		{"3.0.0b2-python3.9", "3.0.0-b2", "python3.9"},
		{"3.0.0-alpine-rc.2", "3.0.0-rc.2", "alpine"},
		{"3.1-rc2", "3.1.0-rc2", ""},
		{"4.0.0-SNAPSHOT", "4.0.0-SNAPSHOT", ""},
		{"4.0.0-nightly-20240131", "4.0.0-nightly.20240131", ""},
		{"1.2.3_rc.1", "1.2.3-rc.1", ""},
	} {
		r, why := readTag(tt.tag, schemeSemVer, nil)
		if why != "" || r.text != tt.version || r.cut != tt.cut || r.doubt != "" {
			t.Errorf("%q is read as %q, cut %q, doubt %q, why %q", tt.tag, r.text, r.cut, r.doubt, why)
			continue
		}
		if v := mustVersion(t, tt.version); compare(v, r.at) != 0 || r.at != r.least {
			t.Errorf("%q is compared as %+v and %+v", tt.tag, r.at, r.least)
		}
	}
}

func TestReadTagWithoutVersion(t *testing.T) {
	for _, tt := range []struct {
		tag    string
		scheme scheme
	}{
		{"latest", schemeSemVer}, {"stable", schemeSemVer}, {"lts-jdk17", schemeJenkins}, {"main", schemeSemVer}, {"nightly", schemeSemVer},
		{"6", schemeSemVer}, {"6.2", schemeSemVer}, {"v1.9", schemeSemVer}, {"6.2-alpine3.19", schemeSemVer}, {"6.2.x", schemeSemVer},
		{"8.0-rc", schemeSemVer}, {"3-beta1", schemeSemVer}, {"1.25-bookworm", schemeSemVer}, {"20240131", schemeSemVer}, {"6e3f2c1", schemeSemVer},
		{"sha-6e3f2c1", schemeSemVer}, {"pr-123", schemeSemVer}, {"alpine", schemeSemVer}, {"bookworm", schemeSemVer},
		{"11", schemePostgreSQL}, {"11-alpine", schemePostgreSQL}, {"9.6", schemePostgreSQL}, {"09.6", schemePostgreSQL},
		{"2", schemeJenkins},
		{"RELEASE.2023", schemeDate}, {"RELEASE.2023-01-25", schemeDate}, {"RELEASE.x-y-zT1Z", schemeDate}, {"RELEASE.2023-01-25T00", schemeDate}, {"edge", schemeDate},
		{"RELEASE.2023-01-25T00-19-54Z", schemeSemVer},
	} {
		if r, why := readTag(tt.tag, tt.scheme, nil); why == "" || r.at.core != "" {
			t.Errorf("%q by %s is read as %+v", tt.tag, tt.scheme, r)
		}
	}
}

func TestReadTagSchemes(t *testing.T) {
	for _, tt := range []struct {
		tag     string
		scheme  scheme
		version string
	}{
		{"11.22", schemePostgreSQL, "11.22.0"},
		{"11.22-patch.0", schemePostgreSQL, "11.22.0"},
		{"11.22.0-debian-11-r4", schemePostgreSQL, "11.22.0"},
		{"16.1-alpine3.19", schemePostgreSQL, "16.1.0"},
		{"9.6.24", schemePostgreSQL, "9.6.24"},
		{"17beta1", schemePostgreSQL, "17.0.0-beta1"},
		{"16rc1-bookworm", schemePostgreSQL, "16.0.0-rc1"},
		{"2.440-jdk17", schemeJenkins, "2.440.0"},
		{"2.426.3-lts-jdk17", schemeJenkins, "2.426.3"},
		{"RELEASE.2023-01-25T00-19-54Z", schemeDate, "2023.1.25"},
		{"RELEASE.2023-01-25T00-19-54Z.fips", schemeDate, "2023.1.25"},
		{"2023.12.23-debian-11-r0", schemeDate, "2023.12.23"},
		{"slim-2.8.4-python3.9", schemeSemVer, "2.8.4"},
	} {
		r, why := readTag(tt.tag, tt.scheme, []string{"slim-"})
		if r.text != tt.version || why != "" || r.doubt != "" {
			t.Errorf("%q by %s is read as %+v, %s; want %s", tt.tag, tt.scheme, r, why, tt.version)
		}
	}
}

// What nobody knows the meaning of may make a pre-release, and then what is
// fixed in exactly that version would be open.
func TestReadTagDoubts(t *testing.T) {
	for _, tt := range []struct{ tag, version, least string }{
		{"2.8.4-acme.3", "2.8.4", "2.8.4-0"},
		{"2.8.4-1", "2.8.4", "2.8.4-0"},
		{"2.8.4-g6e3f2c1", "2.8.4", "2.8.4-0"},
		{"1.1.1f", "1.1.1", "1.1.1-0"},
		{"2.13.0-pg15", "2.13.0", "2.13.0-0"},
		{"2.8.4-python3.9-acme", "2.8.4", "2.8.4-0"},
		{"2.8.4-rc1-acme", "2.8.4-rc1", "2.8.4-rc1"},
	} {
		r, why := readTag(tt.tag, schemeSemVer, nil)
		if why != "" || r.text != tt.version || r.doubt == "" || compare(r.least, mustVersion(t, tt.least)) != 0 {
			t.Errorf("%q is read as %+v, %s", tt.tag, r, why)
		}
	}
	if r, why := readTag("RELEASE.2023-01-25T00-19-54Z.hotfix.abc", schemeDate, nil); why != "" || r.doubt == "" || compare(r.least, r.at) >= 0 {
		t.Errorf("a hotfix is read as %+v, %s", r, why)
	}
}

func FuzzTag(f *testing.F) {
	for _, s := range []string{"2.8.4-python3.9", "6.2.14-debian-12-r17", "RELEASE.2023-01-25T00-19-54Z", "2.8.4rc1", "17beta1", "1.2.3_x", "v1", "1.2.3--", "1.2.3-rc-1-a-b", "1.0.0.Final"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, tag string) {
		for _, s := range schemes {
			r, why := readTag(tag, s, []string{"slim-"})
			if (why == "") == (r.at.core == "") {
				t.Fatalf("%q by %s is %+v and %q", tag, s, r, why)
			}
			if why != "" {
				continue
			}
			v, ok := parseVersion(r.text)
			if len(tag) > 200 {
				continue
			}
			if !ok && !strings.ContainsAny(tag, "._-") || ok && compare(v, r.at) != 0 {
				t.Errorf("%q by %s is compared as %+v and shown as %q", tag, s, r.at, r.text)
			}
			if compare(r.least, r.at) > 0 || r.doubt == "" && r.least != r.at {
				t.Errorf("%q by %s: %+v", tag, s, r)
			}
		}
	})
}
