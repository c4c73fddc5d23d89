// Package arch holds the tests that keep the tree's shape: which package may import which, and that each says what it owns.
//
// It owns the import table (see arch_test.go). It refuses to hold code that anything runs.
package arch
