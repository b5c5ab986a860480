"use strict";
// Brings the parts of the page to life. Everything they need stands in the page.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  for (const [name, value] of Object.entries(data)) {
    const place = document.getElementById(name);
    if (place.classList.contains("picture")) hover(place, value);
    if (place.classList.contains("atlas")) atlas(place, value);
    if (place.classList.contains("explorer")) explorer(place, value);
  }
})();
