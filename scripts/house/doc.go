// Package house checks the rules of the house that no compiler knows: every
// package says what its part is, the walls between the modules stand, and the
// modules agree with each other. It is a module of its own so that it may look
// at all of them, and it needs nothing but the go command.
package house
