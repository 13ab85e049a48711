"""The live page in a real browser, of a phone's size."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

from tests.outlets.http.house import House, Settings, open_house
from tests.support.wait import until

CHROMIUM = Path(os.environ.get("HEARTHGATE_CHROMIUM", "/usr/bin/chromium"))
ARGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
PHONE = ViewportSize(width=390, height=844)

if not CHROMIUM.exists() and os.environ.get("HEARTHGATE_REQUIRE_ALL") != "1":
    pytest.skip(f"there is no {CHROMIUM}", allow_module_level=True)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield started
        await started.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    faults: list[str] = []
    opened = await browser.new_page(viewport=PHONE, locale="en-GB")
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    assert faults == []


async def show(page: Page, house: House, who: str = "all") -> None:
    await page.goto(f"{house.url}/#t={house.secrets[who]}", wait_until="load")
    await expect(page.locator("#line")).to_have_text("live")


async def test_it_shows_values_as_they_come_and_keeps_its_token(house: House, page: Page) -> None:
    await show(page, house)
    assert house.secrets["all"] not in page.url
    hall = page.locator("article", has_text="hall")
    temperature = hall.locator(".property", has_text="temperature")
    await expect(temperature.locator(".value")).to_have_text("20.5°C")
    await expect(temperature.locator("time")).to_have_text("just now")
    await house.said(temperature=23.0)
    await expect(temperature.locator(".value")).to_have_text("23°C")
    await house.said(thing="attic", humidity=40.5)
    await expect(page.locator("article", has_text="attic").locator(".value")).to_contain_text("40.5")
    await page.reload(wait_until="load")
    await expect(page.locator("#line")).to_have_text("live")
    overflow = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, "a phone has to scroll sideways"


async def test_it_sets_what_can_be_set_and_says_what_came_of_it(house: House, page: Page) -> None:
    await show(page, house)
    setpoint = page.locator(".property", has_text="setpoint")
    await setpoint.get_by_role("button", name="more").click()
    await setpoint.get_by_role("button", name="more").click()
    await until(lambda: house.sent)
    assert [(command.value, command.cause) for command in house.sent] == [(20.0, "token:all")]
    await expect(setpoint.locator(".said")).to_have_text("done")
    await expect(setpoint.locator(".value")).to_have_text("20°C")
    await page.locator(".property", has_text="mode").get_by_role("combobox").select_option("off")
    await until(lambda: len(house.sent) == 2)
    await page.locator(".property", has_text="light").get_by_role("switch").click()
    await until(lambda: len(house.sent) == 3)
    assert [command.value for command in house.sent[1:]] == ["off", True]
    await expect(page.locator(".property", has_text="light").locator(".value")).to_have_text("on")


async def test_it_shows_target_beside_reported_while_they_differ_and_tells_refusals(house: House, page: Page) -> None:
    await show(page, house)
    house.obeys = False
    setpoint = page.locator(".property", has_text="setpoint")
    await setpoint.get_by_role("spinbutton").fill("25")
    await setpoint.get_by_role("spinbutton").press("Enter")
    await until(lambda: house.sent)
    await expect(setpoint.locator(".said")).to_have_text("set to 25, reports 19")
    house.core.commands.refused(house.sent[0].id, "too hot")
    await expect(setpoint.locator(".said")).to_contain_text("too hot")
    await setpoint.get_by_role("spinbutton").fill("99")
    await setpoint.get_by_role("spinbutton").press("Enter")
    await expect(setpoint.locator(".said")).to_contain_text("not a value it can take")


async def test_it_never_shows_as_live_what_is_not(house: House, page: Page) -> None:
    await show(page, house)
    hall = page.locator("article", has_text="hall")
    house.intake.bad("hall", "temperature", "sensor shorted")
    house.core.alerts.raise_("link-down", "usb0", "unplugged <b>now</b>")
    await house.settle()
    await expect(hall.locator(".property", has_text="temperature").locator(".about")).to_contain_text(
        "bad: sensor shorted"
    )
    await expect(page.locator(".alert")).to_contain_text("link-down: usb0: unplugged <b>now</b>")
    await page.get_by_role("button", name="Seen").click()
    await expect(page.locator(".alert")).to_contain_text("seen")
    house.intake.link_down("unplugged")
    await house.settle()
    await expect(hall.locator(".badge")).to_have_text("offline")
    await expect(hall.locator(".reason")).to_contain_text("unplugged")


async def test_it_comes_back_after_the_gateway_was_away(tmp_path: Path, page: Page) -> None:
    async with open_house(tmp_path) as house:
        await show(page, house)
        port, secret = house.port, house.secrets["all"]
    await expect(page.locator("#line")).to_have_attribute("data-state", "down")
    async with open_house(tmp_path, Settings(listen=(f"127.0.0.1:{port}",)), secrets={"all": secret}) as house:
        await house.said(temperature=27.0)
        await expect(page.locator("#line")).to_have_text("live", timeout=20_000)
        await expect(page.locator(".property", has_text="temperature").locator(".value")).to_have_text("27°C")


async def test_without_a_token_it_asks_for_one(house: House, page: Page) -> None:
    await page.goto(house.url, wait_until="load")
    await expect(page.locator("#door")).to_be_visible()
    await page.get_by_label("Token").fill(house.secrets["read"])
    await page.get_by_role("button", name="Open").click()
    await expect(page.locator("#line")).to_have_text("live")
    await expect(page.locator("#door")).to_be_hidden()
    async with httpx.AsyncClient(base_url=house.url, trust_env=False) as http:
        admin = {"Authorization": f"Bearer {house.secrets['admin']}"}
        assert (await http.delete("/api/v1/tokens/read", headers=admin)).status_code == 204
    await expect(page.locator("#door")).to_be_visible()
    await expect(page.locator("article")).to_have_count(0)
