// Keeps the page as the cloud is, over one connection that the browser renews by itself.
"use strict";
const cloud = document.getElementById("cloud");
const connection = document.getElementById("connection");
const events = new EventSource("events");
events.onopen = () => { connection.textContent = "live"; };
events.onerror = () => { connection.textContent = "the connection is lost; trying again"; };
events.onmessage = (event) => { cloud.innerHTML = event.data; };
