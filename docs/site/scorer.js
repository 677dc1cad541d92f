// Whoever searches for several words has a message, and wants its entry. The numbers are Sphinx's own.
const isMessage = (new URLSearchParams(window.location.search).get("q") || "").trim().split(/\s+/).length > 3;
var Scorer = {
  score: ([page, , , , score]) => score + (isMessage && page === "when_it_fails" ? 100 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
